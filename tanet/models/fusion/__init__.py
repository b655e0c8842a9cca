"""BatchNorms absorbed by what stands beside them: convolutions, and TAM."""
