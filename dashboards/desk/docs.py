"""The page ``/api/docs``: what the API offers, made on the server from its OpenAPI document, without a script."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from jinja2 import Environment

STYLE: Final = "/static/docs.css"
METHODS: Final = ("get", "post", "put", "patch", "delete")

_PAGE: Final = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string("""\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>API · Tocsin</title><link rel="stylesheet" href="{{ style }}"></head>
<body><main>
<h1>{{ info.title }}: API</h1>
<p>{{ info.description }}</p>
<p>The whole contract is <a href="{{ openapi }}">OpenAPI {{ version }}</a>. <a href="/">Back to the desk</a></p>
{% for each in operations %}
<section>
<h2><b>{{ each.method }}</b> {{ each.path }}</h2>
<p>{{ each.summary }}</p>
{% if each.parameters %}
<table><caption>Parameters</caption>
{% for p in each.parameters %}
<tr><th scope="row">{{ p.name }}</th><td>{{ p.in }}</td><td>{{ p.description }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% if each.body %}<p>Body: {{ each.body }}</p>{% endif %}
<p>Answers: {{ each.answers }}</p>
</section>
{% endfor %}
</main></body></html>
""")


def register(app: FastAPI) -> None:
    """Serve the page."""

    async def page() -> HTMLResponse:
        document = app.openapi()
        return HTMLResponse(
            _PAGE.render(
                style=STYLE,
                info=document["info"],
                openapi=app.openapi_url,
                version=document["openapi"],
                operations=operations(document),
            )
        )

    app.add_api_route("/api/docs", page, include_in_schema=False)


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every operation of an OpenAPI document, flattened for the page."""
    return [
        {
            "method": method.upper(),
            "path": path,
            "summary": " ".join(operation.get("description", operation.get("summary", "")).split()),
            "parameters": [{"description": "", **each} for each in operation.get("parameters", [])],
            "body": _schema(operation["requestBody"]) if "requestBody" in operation else "",
            "answers": "; ".join(f"{code} {each['description']}" for code, each in operation["responses"].items()),
        }
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def _schema(body: dict[str, Any]) -> str:
    schema = next(iter(body["content"].values()))["schema"]
    return str(schema.get("$ref", schema.get("title", "JSON"))).rsplit("/", 1)[-1]
