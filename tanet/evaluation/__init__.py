"""Evaluation on labelled videos: testing, metrics, protocols, score files, ensembles."""
