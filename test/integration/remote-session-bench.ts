/**
 * How long a control message takes from the adapter to the runtime while media flows: over a link's two connections, and
 * over one that both share. Figures only; `node test/integration/remote-session-bench.ts`.
 */
import { create } from "@bufbuild/protobuf";
import { LinkEventSchema } from "@rspp/gen/rspp/runtime/v1/link_pb";
import {
  type ControlRequest,
  ControlRequestSchema,
  ControlResponseSchema,
  LinkService,
  MediaRequestSchema,
} from "@rspp/gen/rspp/runtime/v1/link_service_pb";
import type { TransportIngress } from "@rspp/ports/transport";
import { openChannel, openDuplex } from "@rspp/rpc/grpc-client";
import { bidiMethod, startGrpcServer } from "@rspp/rpc/grpc-server";
import { Line } from "./link-rig.ts";
import { audioIn, remoteRig, signalIn } from "./remote-session-rig.ts";

const SESSIONS = 50;
const SECONDS = 4;
/** Lines: as fast as loopback is, and ones on which the media alone takes 60 and 95 of 100 parts. */
const LINES = [Number.POSITIVE_INFINITY, 2_800_000, 1_780_000];

function quantiles(ms: number[]): string {
  ms.sort((a, b) => a - b);
  const at = (q: number): string => (ms[Math.min(ms.length - 1, Math.floor(q * ms.length))] ?? Number.NaN).toFixed(2);
  return `p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms (${ms.length})`;
}

/** Calls `frame` for every session each 20 ms, staggered, and `control` every 7 ms, for SECONDS. */
async function drive(frame: (session: number) => void, control: () => void): Promise<void> {
  const startMs = performance.now();
  let [framesSent, controlsSent] = [0, 0];
  while (performance.now() - startMs < SECONDS * 1_000) {
    const elapsedMs = performance.now() - startMs;
    for (; framesSent < (elapsedMs / 20) * SESSIONS; framesSent++) frame(framesSent % SESSIONS);
    for (; controlsSent < elapsedMs / 7; controlsSent++) control();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => setTimeout(resolve, 300));
}

/** The bare streams: the same messages over two connections or one. */
async function bare(connections: 1 | 2, bytesPerS: number): Promise<string> {
  const took: number[] = [];
  const sentAt: number[] = [];
  const server = await startGrpcServer({
    domain: "bench",
    port: 0,
    services: [
      {
        service: LinkService,
        methods: {
          control: bidiMethod(
            LinkService.method.control,
            (duplex) => {
              duplex.write(create(ControlResponseSchema, {}));
              return {
                onMessage: (message: ControlRequest) => {
                  const [frame] = message.frames;
                  if (frame?.frame.case === "ping")
                    took.push(performance.now() - (sentAt[Number(frame.frame.value.nonce)] ?? 0));
                },
              };
            },
            { validate: false },
          ),
          media: bidiMethod(LinkService.method.media, () => ({ onMessage: () => undefined }), { validate: false }),
        },
      },
    ],
  });
  const line = new Line(server.port);
  line.bytesPerS = bytesPerS;
  const address = await line.open();
  const first = openChannel({ address });
  const second = connections === 1 ? first : openChannel({ address });
  const control = openDuplex(first, LinkService.method.control, { onMessage: () => undefined });
  const media = openDuplex(second, LinkService.method.media, { onMessage: () => undefined });
  const bytes = new Uint8Array(640);
  await drive(
    (session) => {
      const event = create(LinkEventSchema, {
        sessionRef: session * 2 + 1,
        lane: 2,
        sequence: 1,
        audio: bytes,
        durationUs: 20_000,
      });
      media.write(create(MediaRequestSchema, { events: [event] }));
    },
    () => {
      const value = {
        $typeName: "rspp.runtime.v1.LinkPing" as const,
        nonce: BigInt(sentAt.push(performance.now()) - 1),
      };
      const frame = { $typeName: "rspp.runtime.v1.LinkControlFrame" as const, frame: { case: "ping" as const, value } };
      control.write(create(ControlRequestSchema, { frames: [frame] }));
    },
  );
  first.close();
  second.close();
  line.close();
  await server.stop(100);
  return quantiles(took);
}

/** Whole sessions: from the adapter's SessionEnd to the runtime's. */
async function sessions(bytesPerS: number): Promise<string> {
  const rig = await remoteRig();
  const took: number[] = [];
  const sentAt: number[] = [];
  const opened: Awaited<ReturnType<typeof rig.open>>[] = [];
  for (let n = 0; n < SESSIONS; n++) opened.push(await rig.open(`s-${n}`));
  rig.line.bytesPerS = bytesPerS;
  const sequences = new Array<number>(SESSIONS).fill(0);
  for (const { host } of opened) {
    host.onMessage = (message: TransportIngress) => {
      host.heard.length = 0;
      if (message.kind === "control" && message.signal === "connected")
        took.push(performance.now() - (sentAt[message.sequence - 1] ?? 0));
    };
  }
  await drive(
    (n) => {
      const sequence = (sequences[n] ?? 0) + 1;
      sequences[n] = sequence;
      opened[n]?.end.session.receive(audioIn(opened[n]?.end.epoch ?? 0, sequence));
    },
    () => {
      const sequence = sentAt.push(performance.now());
      const { end } = opened[sequence % SESSIONS] ?? {};
      end?.session.receive(signalIn(end.epoch, sequence, "connected", { controlClass: "overtaking" }));
    },
  );
  await rig.stop();
  return quantiles(took);
}

for (const bytesPerS of LINES) {
  console.log(
    `line ${bytesPerS === Number.POSITIVE_INFINITY ? "loopback" : `${bytesPerS / 1e6} MB/s`}, ${SESSIONS} sessions of 20 ms frames`,
  );
  console.log(`  one connection   ${await bare(1, bytesPerS)}`);
  console.log(`  two connections  ${await bare(2, bytesPerS)}`);
  console.log(`  whole sessions   ${await sessions(bytesPerS)}`);
}
