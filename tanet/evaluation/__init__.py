"""Evaluation of networks on labelled videos: tests, metrics, protocols, score files and ensembles."""
