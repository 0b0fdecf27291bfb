"""An operator's client of RSPP in Python, over nothing but the generated stubs.

Watches snapshots and acknowledges each, publishes two versions and a rollout that gives all callers the second, asks for a
route, drains the runtime until no route leads to it, lets it take calls again, and prints what it saw as one JSON object.
"""
import argparse
import json
import queue
import threading
import time
import uuid

import grpc
from rspp.registry.v1 import (
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    fleet_service_pb2,
    fleet_service_pb2_grpc,
    registry_pb2,
    registry_service_pb2,
    registry_service_pb2_grpc,
    snapshot_pb2,
)


class Watch:
    """Snapshots of the control plane: the newest of each kind, every one acknowledged."""

    def __init__(self, stub, kinds):
        self.newest, self.versions = {}, {kind: [] for kind in kinds}
        self.changed = threading.Condition()
        self.error = None
        self.asked = queue.Queue()
        self.me = f"py-{uuid.uuid4()}"
        self.asked.put(registry_service_pb2.WatchSnapshotsRequest(instance_id=self.me, kinds=kinds))
        self.call = stub.WatchSnapshots(iter(self.asked.get, None))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for answer in self.call:
                if answer.unchanged:  # the version is still the newest: no answer is wanted
                    continue
                kind, version = answer.snapshot.kind, answer.snapshot.version
                self.asked.put(
                    registry_service_pb2.WatchSnapshotsRequest(
                        instance_id=self.me, nonce=answer.nonce, accepted_version=version
                    )
                )
                with self.changed:
                    self.versions[kind].append(version)
                    self.newest[kind] = answer.content
                    self.changed.notify_all()
        except grpc.RpcError as failure:
            if failure.code() != grpc.StatusCode.CANCELLED:
                self.error = f"watch: {failure.code().name}: {failure.details()}"

    def until(self, kind, message, holds):
        def held():
            return kind in self.newest and holds(message.FromString(self.newest[kind]))

        with self.changed:
            return self.changed.wait_for(lambda: self.error or held(), timeout=20) and held()

    def close(self):
        self.asked.put(None)
        self.call.cancel()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", required=True, help="host:port")
    parser.add_argument("--specs", required=True, help="two versions of a PipelineSpec, YAML, with a comma between")
    parser.add_argument("--tenant", default="local")
    ask = parser.parse_args()
    out = {"ok": False, "error": None}
    channel = grpc.insecure_channel(ask.registry)
    try:
        operate(ask, channel, out)
        out["ok"] = True
    except grpc.RpcError as failure:
        out["error"] = f"{failure.code().name}: {failure.details()}"
    except AssertionError as failure:
        out["error"] = str(failure)
    channel.close()
    print(json.dumps(out))


def operate(ask, channel, out):
    registry = registry_service_pb2_grpc.RegistryServiceStub(channel)
    artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
    fleet = fleet_service_pb2_grpc.FleetServiceStub(channel)
    watch = Watch(registry_service_pb2_grpc.SnapshotServiceStub(channel), ["routing", "rollout"])
    for path in ask.specs.split(","):
        with open(path, "rb") as file:
            source = file.read()
        published = registry.PublishPipeline(
            registry_service_pb2.PublishPipelineRequest(
                tenant_id=ask.tenant, source=source, source_format="yaml", author="python"
            )
        )
        name = published.version.name
    out["pipeline"] = f"{name}@{published.version.version}"
    rollout = f"schema: rspp/rollout/v1\nrollout: {name}\nstable: 1\ncanary: {{version: 2, percent: 100}}\n"
    artifacts.PublishArtifact(
        artifact_service_pb2.PublishArtifactRequest(
            tenant_id=ask.tenant, kind=registry_pb2.ARTIFACT_KIND_ROLLOUT, source=rollout.encode(), author="python"
        )
    )
    seen = watch.until(
        "rollout", snapshot_pb2.RolloutSnapshot, lambda it: any(document.name == name for document in it.rollouts)
    )
    assert seen, watch.error or "the rollout's snapshot did not come within 20 s"

    def route():
        asked = registry_service_pb2.CreateRouteRequest(
            tenant_id=ask.tenant, pipeline_name=name, transport="link", idempotency_key=f"route-{uuid.uuid4()}"
        )
        return registry.CreateRoute(asked).route

    routed = route()
    out["routed"] = f"{routed.pipeline.name}@{routed.pipeline.version}"
    runtime = routed.instance_id

    def draining(wanted):
        def holds(it):
            return any(i.instance_id == runtime and i.draining == wanted for i in it.view.instances)

        assert watch.until("routing", snapshot_pb2.RoutingSnapshot, holds), watch.error or f"draining={wanted} was not seen"

    fleet.DrainInstance(fleet_service_pb2.DrainInstanceRequest(instance_id=runtime, actor="python", reason="test"))
    draining(True)
    try:
        route()
        out["refused"] = None
    except grpc.RpcError as failure:
        out["refused"] = failure.code().name
    fleet.UndrainInstance(fleet_service_pb2.UndrainInstanceRequest(instance_id=runtime, actor="python"))
    draining(False)
    for _ in range(100):
        try:
            out["again"] = route().instance_id == runtime
            break
        except grpc.RpcError:
            time.sleep(0.1)
    watch.close()
    out["rising"] = all(
        numbers == sorted(numbers)
        for numbers in ([int(version.split("@")[1]) for version in versions] for versions in watch.versions.values())
    )


main()
