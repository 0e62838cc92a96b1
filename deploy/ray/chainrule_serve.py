"""Chainrule on Ray Serve: the same application, in as many replicas as the load asks for.

    pip install '.[ray]'
    cd deploy/ray && serve run chainrule_serve:chainrule

docs/deploy.md says when this is the right place for it.
"""

from ray import serve

from app.main import create_app


@serve.deployment(
    # A replica computes on one core, and answers small requests meanwhile.
    ray_actor_options={"num_cpus": 1},
    max_ongoing_requests=32,
    autoscaling_config={"min_replicas": 1, "max_replicas": 8, "target_ongoing_requests": 4, "downscale_delay_s": 300},
    # What a replica still computes when it is to stop; nothing tells a longer training run, which is lost.
    graceful_shutdown_timeout_s=30,
)
@serve.ingress(create_app)
class Chainrule:
    """The ASGI application is all there is; it is made in each replica."""


chainrule = Chainrule.bind()
