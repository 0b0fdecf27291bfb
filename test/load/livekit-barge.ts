/** Participants who interrupt, in a process of their own. Arguments: LiveKit server, rooms, cuts of each. */
import { join, livekitToken, type Participant, RATE_HZ } from "../livekit/participant.ts";

const [url = "", rooms = "4", cuts = "20"] = process.argv.slice(2);
const LOUD = 1_000;
/** Longer than what an interruption takes, so that there is a silence before the next reply. */
const speech = Int16Array.from(
  { length: RATE_HZ * 0.6 },
  (_, n) => 10_000 * Math.sin((2 * Math.PI * 300 * n) / RATE_HZ),
);
const GAP_MS = 120;

const silenceMs: number[] = [];

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const loud = ({ samples }: { samples: Int16Array }): boolean => samples.some((v) => Math.abs(v) > LOUD);

async function until(done: () => boolean): Promise<void> {
  for (const endMs = performance.now() + 20_000; !done(); await pause(5)) {
    if (performance.now() > endMs) throw new Error("no sound, or no silence, within 20 s");
  }
}

/** The agent speaks. */
async function speaking({ heard }: Participant): Promise<void> {
  const from = heard.length;
  await until(() => heard.slice(from).some(loud));
  await pause(400 + Math.random() * 400);
}

async function interrupt(caller: Participant): Promise<void> {
  const { heard } = caller;
  const from = heard.length;
  // What is captured runs this far ahead of the room; speech leaves with the next frame.
  const saidMs = performance.now();
  void caller.say(speech);
  let last = 0;
  await until(() => {
    const since = heard.slice(from);
    const end = since.findLastIndex(loud);
    last = since[end]?.atMs ?? 0;
    return since.length - end > GAP_MS / 10;
  });
  silenceMs.push(last - saidMs);
  await speaking(caller);
}

const callers = await Promise.all(
  Array.from({ length: Number(rooms) }, async (_, n) => join(url, await livekitToken(`bench-${n}`, `caller-${n}`))),
);
await Promise.all(
  callers.map(async (caller) => {
    await pause(300);
    await caller.say(speech);
    await speaking(caller);
    for (let n = 0; n < Number(cuts); n++) await interrupt(caller);
  }),
);
process.stdout.write(`${JSON.stringify({ silenceMs })}\n`);
await pause(100);
process.exit(0);
