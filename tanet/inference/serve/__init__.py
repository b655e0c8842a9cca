"""A server on one machine: a page to drop videos on, and an API.

app.py        addresses → answers
uploads.py    videos in a folder of ours, with limits that hold while they stream in
batching.py   one thread per server runs the networks, on the clips of several requests at once
kserve.py     the Open Inference Protocol (KServe v2)
metrics.py    numbers for Prometheus
page/         the page: HTML, CSS and JavaScript, without a build step
"""
