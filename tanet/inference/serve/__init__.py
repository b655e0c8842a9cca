"""A server on one machine: a page to drop videos on, and an API.

app.py              addresses → answers
server.py           what all requests share
video_requests.py   requests with a video or clips in their body
limits.py           what a request may cost
uploads.py          videos in a folder of the server's own; limits hold while they stream in
batching.py         one thread runs the networks, on the clips of several requests at once
kserve.py           the Open Inference Protocol (KServe v2)
metrics.py          numbers for Prometheus
page/               the page: HTML, CSS and JavaScript, without a build step
"""
