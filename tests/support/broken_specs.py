"""Specs that each break one rule over several fields: for the model, and for a real API server."""

BREAKING = (
    "{worker: {}}",
    "{worker: {image: x}, scaling: {workersMin: 4}}",
    "{worker: {image: x}, scaling: {scalerType: REQUEST_COUNT, scalerValue: 1.5}}",
    "{worker: {image: x}, scaling: {scalerValue: 3601}}",
    "{worker: {image: x}, scaling: {idleTimeout: 0}}",
    "{worker: {image: x}, scaling: {standby: 4}}",
    "{worker: {image: x}, scaling: {schedules: [{cron: 0 8 * * *, workersMin: 4}]}}",
    "{worker: {image: x}, scaling: {shadow: QUEUE_DELAY}}",
    "{worker: {image: x}, jobs: {executionTimeoutMs: 4999}}",
    "{worker: {image: x}, jobs: {ttlMs: 10000}}",
    "{worker: {image: x, env: [{name: A, value: b, valueFrom: {secretKeyRef: {name: a, key: b}}}]}}",
    "{worker: {image: x, env: [{name: A, valueFrom: {}}]}}",
    "{worker: {handler: {inline: x}, args: [a]}}",
    "{worker: {image: x, envFrom: [{prefix: A}]}}",
    "{worker: {image: x}, scaling: {replicas: 4}}",
    "{worker: {image: x}, gpu: {types: [A100]}}",
    "{worker: {image: x}, gpu: {count: 1, types: [A100, A100]}}",
    "{worker: {image: x}, gpu: {count: 1, types: [A100], excludedTypes: [A100]}}",
    "{worker: {image: x}, auth: {mode: None, keySecrets: [{name: a}]}}",
    "{worker: {handler: {}}}",
    "{worker: {image: x}, endpointId: endpoints}",
)
"""One spec for each of `SPEC_RULES`, in their order, that breaks it alone."""
