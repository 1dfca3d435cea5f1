"""Running a handler without a platform: what `start` does where no gateway is named.

| Module | Thought |
|---|---|
| `arguments` | the command line (pure) |
| `mode` | which way this process goes: worker, test, development server, realtime (pure) |
| `trial` | one job from the command line or from `test_input.json` |
| `hooks`, `hooked` | jobs from functions of the user's own: which (pure), and a worker for them |
| `shown` | what became of a job, for people |
| `jobs` | a job in memory and how it reads (pure) |
| `desk` | the jobs of a server: queued, running, kept |
| `requests` | what a request asks of a desk |
| `web` | HTTP: one thread per connection |
| `serve` | the development server and the realtime server: one process |
| `webhook` | tells a URL of an outcome, once |
| `reload`, `again` | starts over when a source has changed |
| `debugger` | adds measured times to outputs |

Handlers are called by the worker's own executor, so that a job ends here as it would end there.
"""
