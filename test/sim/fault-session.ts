import type { TransportIngress } from "@rspp/ports/transport";
import type { Fault, FaultSite } from "./fault-site.ts";

/** Audio and control as a broken codec or a hostile peer would give them. */
function garbage(site: FaultSite): TransportIngress {
  const { rng } = site;
  const epoch = site.runtime.holder?.state.epoch ?? 1;
  const audio = {
    kind: "audio",
    epoch,
    sequence: 1_000_000,
    mediaUs: 0,
    durationUs: 20_000,
    format: { codec: "pcm_s16le", rateHz: 16_000, channels: 1 },
    bytes: new Uint8Array(640),
  } as const;
  const odd: unknown[] = [
    { ...audio, bytes: new Uint8Array(rng.int(0, 639)) },
    { ...audio, sequence: -1 },
    { ...audio, sequence: Number.NaN },
    { ...audio, durationUs: Number.POSITIVE_INFINITY },
    { ...audio, format: { codec: "snow", rateHz: -1, channels: 0 } },
    { ...audio, bytes: "not bytes" },
    { kind: "control", epoch, sequence: 1_000_000, signal: "__proto__", controlClass: "overtaking" },
    { kind: "control", epoch, sequence: 0.5, signal: "stop", controlClass: "sideways" },
    { kind: "delivery", epoch, turn: -4, generation: 0, state: "eaten", playedUs: 3 },
    { kind: "noise" },
  ];
  return rng.pick(odd) as TransportIngress;
}

/** What the session itself is told, and what its detector and its caller's device do to it. */
export const sessionFaults = {
  transport_disconnect: (site) => {
    const { world, rng } = site;
    if (!world.adapter.leave(rng.chance(50) ? "lose" : "disconnect")) return;
    site.tell("transport_disconnect");
    site.undo(rng.int(50, 1_500), () => world.adapter.comeBack());
  },
  control_duplicate: (site) => {
    site.world.adapter.harm.control = () => site.tell("control_duplicate");
    site.undo(site.rng.int(1_000, 6_000), () => {
      site.world.adapter.harm.control = null;
    });
  },
  audio_duplicate: (site) => {
    let told = false;
    site.world.adapter.harm.audioPercent = site.rng.int(5, 40);
    site.world.adapter.harm.audio = () => {
      if (!told) site.tell("audio_duplicate");
      told = true;
    };
    site.undo(site.rng.int(200, 1_500), () => {
      site.world.adapter.harm.audioPercent = 0;
    });
  },
  codec_garbage: (site) => {
    site.tell("codec_garbage");
    for (let n = site.rng.int(1, 6); n > 0; n--) site.runtime.session?.receive(garbage(site));
  },
  revoke: (site) => {
    const { world, runtime, rng } = site;
    const epoch = runtime.holder?.state.epoch ?? 0;
    const revoked = world.lease.revoke("session-1");
    if (!revoked.ok) return;
    site.tell("revoke");
    // Told to the holder and to the receivers, each in its own time.
    site.after(rng.int(1, 20), () => runtime.proc.post(() => runtime.holder?.step({ kind: "revoked", epoch })));
    site.after(rng.int(1, 30), () => world.adapter.floor(revoked.value.signed));
    site.after(rng.int(1, 30), () => world.replay.receiver.floor(revoked.value.signed));
    site.after(rng.int(150, 400), () => world.failover(runtime));
  },
  rotation: (site) => site.runtime.holder?.rotate(0),
  overload: (site) => {
    const { runtime, rng } = site;
    if (rng.chance(50)) {
      site.tell("overload_sessions");
      return runtime.openExtras(rng.int(3, 6));
    }
    for (let n = rng.int(30, 200); n > 0; n--) runtime.session?.operator("cancel_turn", { turn: 1_000_000 + n });
  },
  capacity_refused: (site) => {
    const { rng } = site;
    const { session } = site.runtime;
    if (session === null) return;
    const outcome = rng.chance(50) ? "defer" : "reject";
    const evidenceQuotaBytes = session.config.recording.evidenceQuotaBytes;
    site.tell("capacity_refused");
    session.update({ type: "capacity", admit: false, outcome, reason: "no_capacity", evidenceQuotaBytes });
    session.say("is there room");
    site.undo(rng.int(100, 900), () =>
      session.update({ type: "capacity", admit: true, outcome: "defer", reason: "", evidenceQuotaBytes }),
    );
  },
  snapshot_stale: (site) => {
    const { session } = site.runtime;
    if (session === null) return;
    const refs = session.config.snapshots;
    site.tell("snapshot_stale");
    session.update({ type: "snapshot", refs, usable: false, reason: "too_stale" });
    session.say("what do we know");
    site.undo(site.rng.int(100, 900), () => session.update({ type: "snapshot", refs, usable: true, reason: "" }));
  },
  /** The control plane says something new in the middle of a turn: it acts at the next one. */
  snapshot_change: (site) => {
    const { session } = site.runtime;
    if (session === null) return;
    site.tell("snapshot_change");
    const version = site.rng.int(2, 999);
    const refs = { ...session.config.snapshots, policy: `policy@${version}`, routing: `routing@${version}` };
    session.update({ type: "snapshot", refs, usable: true, reason: "" });
  },
  node_throw: (site) => vad(site, "throw"),
  node_hang: (site) => vad(site, "hang"),
} satisfies Record<string, Fault>;

function vad(site: FaultSite, how: "throw" | "hang"): void {
  const { detector } = site.runtime;
  let told = false;
  detector.fault = how;
  detector.happened = () => {
    if (!told) site.tell(how === "throw" ? "node_throw" : "node_hang");
    told = true;
  };
  site.undo(site.rng.int(20, 900), () => {
    detector.fault = "none";
  });
}
