"""A client of RSPP in Python, over nothing but the stubs generated from the protos.

Publishes a pipeline, asks for a route, holds a session over a link (both of its connections) as a transport adapter does,
says a WAV file in real time, reads the session's timeline, and prints what happened as one JSON object.
"""
import argparse
import json
import queue
import sys
import threading
import time
import uuid
import wave

import grpc
from rspp.common.v1 import lane_pb2, reason_pb2
from rspp.event.v1 import audio_pb2, control_pb2, control_rule_pb2
from rspp.lease.v1 import lease_pb2, lease_service_pb2, lease_service_pb2_grpc
from rspp.registry.v1 import registry_service_pb2, registry_service_pb2_grpc
from rspp.replay.v1 import timeline_service_pb2, timeline_service_pb2_grpc
from rspp.runtime.v1 import link_pb2, link_service_pb2, link_service_pb2_grpc

FRAME_US = 20_000
FRAME_BYTES = 640
RATE_HZ = 16_000
REF = 1  # odd from an adapter


class Stream:
    """The sending half of a bidirectional stream: what is put is sent, None ends it."""

    def __init__(self):
        self.items = queue.Queue(maxsize=1024)

    def put(self, item):
        self.items.put(item, timeout=5)

    def __iter__(self):
        return iter(self.items.get, None)


class Session:
    """One session on one link."""

    def __init__(self, address, key, pipeline_version, token, grant, epoch):
        self.epoch = epoch
        self.lock = threading.Lock()
        self.control_sequence = 0
        self.data_sequence = 0
        self.sent_bytes = 0
        self.heard_us = {}
        self.credit = {"audio": 0, "bytes": 0}
        self.acted = link_pb2.LaneMarks()
        self.finals = []
        self.said = {}
        self.signals = []
        self.flushed = set()
        self.ended = set()
        self.after_flush = 0
        self.error = None
        self.opened = threading.Event()
        self.settled = threading.Condition()
        self.started = time.monotonic()
        self.base_wall_ms = int(time.time() * 1000)
        self.channels = [grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(2)]
        self.control, self.media = Stream(), Stream()
        hello = link_pb2.LinkHello(
            protocol_version=1, link_id=f"py-{uuid.uuid4()}", incarnation=1, peer_id="python-client", build="test"
        )
        control_stub, media_stub = (link_service_pb2_grpc.LinkServiceStub(c) for c in self.channels)
        self.control.put(link_service_pb2.ControlRequest(hello=hello))
        self.media.put(link_service_pb2.MediaRequest(hello=hello))
        self.calls = [control_stub.Control(iter(self.control)), media_stub.Media(iter(self.media))]
        for call, take in zip(self.calls, (self.take_control, self.take_media)):
            threading.Thread(target=self.read, args=(call, take), daemon=True).start()
        audio_format = audio_pb2.AudioFormat(codec=audio_pb2.AUDIO_CODEC_PCM_S16LE, sample_rate_hz=RATE_HZ, channels=1)
        self.frames(
            link_pb2.LinkControlFrame(
                bind=link_pb2.BindSession(
                    session_ref=REF,
                    binding=link_pb2.SessionBinding(
                        session=key,
                        pipeline_version=pipeline_version,
                        authority_epoch=epoch,
                        format=audio_format,
                        base_wall_ms=self.base_wall_ms,
                        schema_version=1,
                    ),
                )
            )
        )
        self.positioned(open=link_pb2.OpenSession(token=token.encode(), grant=grant))

    def read(self, call, take):
        try:
            for message in call:
                take(message)
        except grpc.RpcError as failure:
            if failure.code() != grpc.StatusCode.CANCELLED:
                self.fail(f"{failure.code().name}: {failure.details()}")

    def fail(self, error):
        self.error = self.error or error
        self.opened.set()
        with self.settled:
            self.settled.notify_all()

    def frames(self, *frames):
        self.control.put(link_service_pb2.ControlRequest(frames=frames))

    def elapsed_us(self):
        return (time.monotonic() - self.started) * 1e6

    def positioned(self, after_media=False, **payload):
        with self.lock:
            self.control_sequence += 1
            last = self.data_sequence if after_media else 0
            message = link_pb2.PositionedControl(
                session_ref=REF, sequence=self.control_sequence, last_media_sequence=last, elapsed_us=self.elapsed_us(), **payload
            )
            self.frames(link_pb2.LinkControlFrame(positioned=message))

    def connected(self):
        control = control_pb2.Control(
            signal=control_pb2.CONTROL_SIGNAL_CONNECTED,
            emitter=control_rule_pb2.SIGNAL_EMITTER_ADAPTER,
            scope=control_rule_pb2.SIGNAL_SCOPE_SESSION,
        )
        with self.lock:
            self.control_sequence += 1
            message = link_pb2.OvertakingControl(
                session_ref=REF, sequence=self.control_sequence, elapsed_us=self.elapsed_us(), control=control,
                details=link_pb2.LinkEventDetails(event_id="c-1"),
            )
            self.frames(link_pb2.LinkControlFrame(overtaking=message))

    def speak(self, pcm):
        with self.lock:
            self.data_sequence += 1
            self.sent_bytes += len(pcm)
            event = link_pb2.LinkEvent(
                session_ref=REF,
                lane=lane_pb2.LANE_DATA,
                sequence=self.data_sequence,
                sent_audio_us=self.data_sequence * FRAME_US,
                sent_bytes=self.sent_bytes,
                media_sample=(self.data_sequence - 1) * RATE_HZ // 50,
                elapsed_us=self.elapsed_us(),
                event_number=self.data_sequence,
                audio=pcm,
                duration_us=FRAME_US,
            )
            self.media.put(link_service_pb2.MediaRequest(events=[event]))

    def take_control(self, message):
        for frame in message.frames:
            kind = frame.WhichOneof("frame")
            if kind == "ping":
                self.frames(link_pb2.LinkControlFrame(pong=link_pb2.LinkPong(nonce=frame.ping.nonce)))
            elif kind == "positioned":
                self.acted.control = max(self.acted.control, frame.positioned.sequence)
                self.take_positioned(frame.positioned)
            elif kind == "overtaking":
                self.acted.control = max(self.acted.control, frame.overtaking.sequence)
                self.take_overtaking(frame.overtaking)
            elif kind in ("break", "unbind", "fault"):
                self.fail(str(getattr(frame, kind)).strip().replace("\n", " "))

    def take_positioned(self, message):
        kind = message.WhichOneof("payload")
        if kind == "opened":
            self.opened.set()
        elif kind == "text" and message.text.final:
            self.finals.append(message.text.text)
        elif kind == "control":
            self.signal(message.control.signal, message.turn_number)
        elif kind == "error":
            self.fail(str(message.error))

    def take_overtaking(self, message):
        kind = message.WhichOneof("payload")
        if kind == "control":
            self.signal(message.control.signal, message.turn_number)
        if kind != "fence":
            return
        played = []
        for cutoff in message.cutoffs:
            self.flushed.add((cutoff.turn_number, cutoff.min_generation))
            played.append(
                link_pb2.TurnPlayed(
                    turn_number=cutoff.turn_number,
                    fence_generation=cutoff.min_generation,
                    played_us=self.heard_us.get(cutoff.turn_number, 0),
                )
            )
        ack = link_pb2.FenceAck(fence_sequence=message.sequence, played=played, authority_epoch=message.fence.authority_epoch)
        self.positioned(fence_ack=ack)

    def signal(self, signal, turn):
        name = control_pb2.ControlSignal.Name(signal).removeprefix("CONTROL_SIGNAL_").lower()
        with self.settled:
            self.signals.append((turn, name))
            self.settled.notify_all()

    def take_media(self, message):
        for event in message.events:
            if event.lane != lane_pb2.LANE_DATA:
                self.acted.telemetry = max(self.acted.telemetry, event.sequence)
                continue
            self.acted.data = max(self.acted.data, event.skip_to_sequence or event.sequence)
            self.credit["audio"], self.credit["bytes"] = event.sent_audio_us, event.sent_bytes
            if event.skip_to_sequence == 0:
                self.play(event)
            receipt = link_pb2.LinkReceipt(
                session_ref=REF,
                granted_audio_us=self.credit["audio"] + 5_000_000,
                granted_bytes=self.credit["bytes"] + 524_288,
                acted=self.acted,
            )
            self.frames(link_pb2.LinkControlFrame(receipts=link_pb2.LinkReceipts(receipts=[receipt])))

    def play(self, event):
        """What comes is heard at once: this client has no loudspeaker to wait for."""
        turn, generation = event.turn_number, event.fence_generation
        if any(turn == t and generation < g for t, g in self.flushed):
            self.after_flush += 1
            return
        first = turn not in self.heard_us
        self.heard_us[turn] = self.heard_us.get(turn, 0) + event.duration_us
        steps = [link_pb2.DELIVERY_STEP_STARTED] if first else []
        if event.end:
            self.ended.add(turn)
            steps.append(link_pb2.DELIVERY_STEP_COMPLETED)
        for step in steps:
            self.positioned(
                delivery=link_pb2.DeliveryReport(
                    turn_number=turn,
                    fence_generation=generation,
                    step=step,
                    played_us=self.heard_us[turn],
                    authority_epoch=self.epoch,
                )
            )

    def wait_for(self, holds, seconds):
        with self.settled:
            return self.settled.wait_for(lambda: self.error is not None or holds(self.signals), timeout=seconds)

    def close(self):
        with self.lock:
            self.control_sequence += 1
            unbind = link_pb2.UnbindSession(
                session_ref=REF, sequence=self.control_sequence, last_media_sequence=self.data_sequence, reason=reason_pb2.REASON_CALLER_HANGUP
            )
            self.frames(link_pb2.LinkControlFrame(unbind=unbind))
        self.control.put(None)
        self.media.put(None)
        for call in self.calls:
            call.cancel()
        for channel in self.channels:
            channel.close()


def wav_frames(path):
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2), "16 kHz, mono, 16 bit"
        pcm = file.readframes(file.getnframes())
    pcm += bytes(-len(pcm) % FRAME_BYTES)
    return [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm), FRAME_BYTES)]


def talk(session, frames, turns_before, seconds):
    """Says `frames`, then silence, in real time, until the turn it opens has closed and been heard."""
    silence = bytes(FRAME_BYTES)

    def over():
        closed = sum(1 for _, name in session.signals if name == "close")
        return closed > turns_before and len(session.ended) > turns_before

    start, sent = time.monotonic(), 0
    while session.error is None and not over() and time.monotonic() - start < seconds:
        due = int((time.monotonic() - start) * 50) + 1
        for number in range(sent, due):
            session.speak(frames[number] if number < len(frames) else silence)
        sent = max(sent, due)
        time.sleep(0.01)
    return over()


def main():
    parser = argparse.ArgumentParser()
    for name in ("registry", "lease", "replay", "spec", "wav"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--tenant", default="local")
    parser.add_argument("--transcript", default="")
    parser.add_argument("--greets", action="store_true")
    options = parser.parse_args()

    registry = registry_service_pb2_grpc.RegistryServiceStub(grpc.insecure_channel(options.registry))
    with open(options.spec, "rb") as file:
        source = file.read()
    published = registry.PublishPipeline(
        registry_service_pb2.PublishPipelineRequest(
            tenant_id=options.tenant, source=source, source_format="yaml", author="python"
        ),
        timeout=10,
    )
    ask = registry_service_pb2.CreateRouteRequest(
        tenant_id=options.tenant,
        pipeline_name=published.version.name,
        pipeline_version=published.version.version,
        transport="link",
        idempotency_key=str(uuid.uuid4()),
    )
    if options.transcript:
        ask.variables.update({"sim_transcripts": [options.transcript]})
    route = registry.CreateRoute(ask, timeout=10).route
    lease = lease_service_pb2_grpc.LeaseServiceStub(grpc.insecure_channel(options.lease))
    granted = lease.GrantLease(
        lease_service_pb2.GrantLeaseRequest(
            session=route.session,
            holder_id=route.instance_id,
            receivers=[lease_pb2.Receiver(receiver_id="python-client", kind=lease_pb2.RECEIVER_KIND_ADAPTER)],
            idempotency_key=str(uuid.uuid4()),
        ),
        timeout=10,
    )
    pipeline_version = f"{route.pipeline.name}@{route.pipeline.version}"
    session = Session(
        route.endpoint.url.split("://", 1)[-1],
        route.session,
        pipeline_version,
        route.token,
        granted.signed,
        granted.lease.grant.epoch,
    )
    session.opened.wait(10)
    session.connected()
    turns = 0
    if options.greets:
        talk(session, [], 0, 30)
        turns = 1
    answered = talk(session, wav_frames(options.wav), turns, 60)
    error = session.error
    session.close()

    replay = timeline_service_pb2_grpc.TimelineServiceStub(grpc.insecure_channel(options.replay))
    kinds = {}
    deadline = time.monotonic() + 20
    while kinds.get("evidence", 0) <= turns and time.monotonic() < deadline:
        kinds = {}
        try:
            for part in replay.ReadTimeline(timeline_service_pb2.ReadTimelineRequest(session=route.session), timeout=10):
                for record in part.records:
                    body = record.WhichOneof("body")
                    kinds[body] = kinds.get(body, 0) + 1
        except grpc.RpcError as failure:
            if failure.code() != grpc.StatusCode.NOT_FOUND:
                raise
        time.sleep(0.2)
    result = {
        "ok": answered and error is None and kinds.get("evidence", 0) > turns,
        "error": error,
        "pipeline": pipeline_version,
        "unchanged": published.unchanged,
        "session": route.session.session_id,
        "epoch": granted.lease.grant.epoch,
        "finals": session.finals,
        "heard_us": session.heard_us,
        "signals": session.signals,
        "after_flush": session.after_flush,
        "timeline": kinds,
    }
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
