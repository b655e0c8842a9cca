"""The branches of TAM in training, forward and backward, in two kernel launches each."""
