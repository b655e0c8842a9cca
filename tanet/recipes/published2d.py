"""Settings of published 2D networks that several recipes and architectures share."""

from dataclasses import replace

from tanet.recipes.network2d import Network2D

TSN_BN_INCEPTION = Network2D(backbone="bn_inception", temporal="none", dropout=0.8)
TSN_FLOW_BN_INCEPTION = replace(TSN_BN_INCEPTION, flows=5, dropout=0.7)
TSN_INCEPTION_V3 = replace(TSN_BN_INCEPTION, backbone="inception_v3_cuhk", frames=3)
TRN_BN_INCEPTION = replace(TSN_BN_INCEPTION, consensus="trn-multiscale")
GST_50 = Network2D(temporal="gst", dropout=0.3)
