"""A node of RSPP in Python: `rspp.node.v1.NodeService` over nothing but the stubs generated from the protos.

`initials@1.0.0` puts the first letter of each word in capitals, clause by clause. Prints one line with its port when it
listens; ends when its standard input does. Try it: `rspp run SPEC --nodes grpc://127.0.0.1:PORT`.
"""
import queue
import sys
import threading
from concurrent import futures

import grpc
from rspp.event.v1 import text_pb2
from rspp.node.v1 import node_pb2, node_service_pb2, node_service_pb2_grpc
from rspp.pipeline.v1 import pipeline_pb2

TEXT = node_pb2.NodePort(name="text", type=pipeline_pb2.PORT_TYPE_TEXT)
INITIALS = node_pb2.NodePackage(
    name="initials",
    version="1.0.0",
    description="Puts the first letter of each word in capitals",
    scope=node_pb2.NODE_SCOPE_TURN,
    inputs=[TEXT],
    outputs=[TEXT],
    purity=node_pb2.NODE_PURITY_PURE,
    cancel=node_pb2.NODE_CANCEL_COOPERATIVE,
    build="1",
)


class Instance:
    """One stream. Events are worked on one after the other by a thread of their own, so that a cancel is heard meanwhile."""

    def __init__(self, said):
        self.said = said
        self.events = queue.Queue(maxsize=64)
        self.cancelled = set()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def say(self, **message):
        self.said.put(node_service_pb2.RunResponse(**message))

    def work(self):
        for event in iter(self.events.get, None):
            if event.command in self.cancelled:
                self.say(cancel_acked=node_pb2.NodeCancelAcked(command=event.command))
                continue
            if event.body.WhichOneof("body") == "text":
                self.capitals(event)
            self.say(done=node_pb2.NodeDone(command=event.command))

    def capitals(self, event):
        given = event.body.text
        text = text_pb2.Text(
            segment=given.segment,
            revision=given.revision,
            final=given.final,
            language=given.language,
            confidence=given.confidence,
            text="".join(c.upper() if i == 0 or given.text[i - 1] == " " else c for i, c in enumerate(given.text)),
        )
        body = node_pb2.NodeBody(text=text)
        self.say(emission=node_pb2.NodeEmission(command=event.command, index=0, port="text", body=body))


class Nodes(node_service_pb2_grpc.NodeServiceServicer):
    def Describe(self, request, context):
        return node_service_pb2.DescribeResponse(packages=[INITIALS])

    def Run(self, requests, context):
        said = queue.Queue(maxsize=1024)
        threading.Thread(target=self.read, args=(requests, said), daemon=True).start()
        yield from iter(said.get, None)

    def read(self, requests, said):
        instance = None
        try:
            for request in requests:
                kind = request.WhichOneof("message")
                if kind == "open":
                    instance = Instance(said)
                    said.put(node_service_pb2.RunResponse(ready=node_pb2.NodeReady()))
                elif instance is None:
                    return
                elif kind == "event":
                    instance.events.put(request.event, timeout=5)
                elif kind == "cancel":
                    instance.cancelled.add(request.cancel.command)
                elif kind == "stop":
                    instance.events.put(None)
                    instance.thread.join(timeout=1)
                    said.put(node_service_pb2.RunResponse(stopped=node_pb2.NodeStopped(reason="stopped")))
                    return
        except grpc.RpcError:
            pass
        finally:
            if instance is not None:
                instance.events.put(None)
            said.put(None)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    node_service_pb2_grpc.add_NodeServiceServicer_to_server(Nodes(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(grace=0.2)


if __name__ == "__main__":
    main()
