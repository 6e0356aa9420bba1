from support import eventually


def test_nginx(nginx, apache, start):
    e = start(f"""
        checks:
          - name: api
            httpGet: {{path: /health, port: {nginx.port}}}
            periodSeconds: 1
            failureThreshold: 2
            groups: [liveness, readiness]
          - name: apache
            httpGet: {{path: /moved, port: {apache.port}}}
            periodSeconds: 1
    """)
    eventually(lambda: e.get("/readyz").status == 200)
    nginx.stop()
    eventually(lambda: e.get("/livez").status == 503)
    print(e.metrics())
    print("\n".join(e.lines))
