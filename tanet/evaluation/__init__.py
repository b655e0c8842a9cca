"""Scores of labelled videos: testing, metrics, protocols, score files, ensembles."""
