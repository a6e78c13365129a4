"""Run moto's server (https://docs.getmoto.org): moto_server.py PORT [CERTIFICATE KEY].

It has one more route, because SNS has no call that lists text messages: GET /sms/ACCOUNT returns
those that an account has sent.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    import moto.iam.responses
    import moto.sns.responses  # noqa: F401  # the first request need not wait for them
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from moto.sns.models import sns_backends
    from werkzeug.serving import run_simple

    aws = DomainDispatcherApplication(create_backend_app)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if not environ["PATH_INFO"].startswith("/sms/"):
            return aws(environ, start_response)
        regions = sns_backends[environ["PATH_INFO"].rpartition("/")[2]].values()
        texts = [each.message for region in regions for each in region.sms_message_objects.values()]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(texts).encode()]

    port, *tls = sys.argv[1:]
    run_simple(
        "127.0.0.1",
        int(port),
        app,
        threaded=True,
        request_handler=MotoRequestHandler,
        ssl_context=(tls[0], tls[1]) if tls else None,
    )


if __name__ == "__main__":
    main()
