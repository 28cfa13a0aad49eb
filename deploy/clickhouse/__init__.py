"""ClickHouse's HTTP protocol over the embedded chDB engine.

The store of `tocsin up`: one process opens a data directory and answers clickhouse-connect, curl and Grafana's
ClickHouse data source the way a ClickHouse server does. Start it with ``python -m deploy.clickhouse --help``.

    protocol     what a request asks for: user, query, parameters, settings, and where an INSERT's data begins
    access       what a statement may do, decided with the engine's own parser and lexer
    disk         writes that the disk did not take, of which the engine says nothing
    engine       chDB handles: one for each request, so that no setting or database leaks into another
    compression  HTTP content codings and ClickHouse's checksummed blocks
    native       Native blocks for clients that announce a protocol version
    output       formats: content types, and which results may leave in pieces
    server       the HTTP application

Sources of facts: ClickHouse documentation, "HTTP Interface", "Native format" and "Permissions for queries".
"""
