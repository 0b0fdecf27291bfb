import type { Clock } from "@rspp/ports/clock";
import { Attempt, endedInvocation, type ManagedProvider } from "@rspp/provider-gateway/attempt";
import { readSettings } from "@rspp/provider-gateway/settings";
import { Pace, sendPaced, simSpecs } from "@rspp/provider-gateway/sim/pace";

const specs = { ...simSpecs, text: { type: "string", default: "" } } as const;

/** A tool that does nothing and says so, with the waits and faults of every simulated provider. */
export function createSimTool({ clock }: { clock: Clock }): ManagedProvider {
  return {
    name: "sim/tool",
    modality: "tool",
    open(request, sink) {
      const read = readSettings(request.settings, specs);
      if (!read.ok) return endedInvocation(clock, sink, "error", read.problem);
      const attempt = new Attempt(sink);
      const pace = new Pace(clock, attempt, request, read.values);
      const { text } = read.values;
      const late = pace.fault === "late_data" || pace.fault === "chunk_after_terminal";
      const chunk = { kind: "text", text, segment: 0, revision: 1, final: true } as const;
      let asked = false;
      return {
        push(input) {
          if (input.kind !== "text" || asked || attempt.done) return;
          asked = true;
          if (pace.failsAtOnce()) return;
          const send = (): void => (late ? sink.chunk(chunk) : attempt.chunk(chunk));
          sendPaced(pace, [chunk], send, () => {
            attempt.end("success", "");
            if (pace.fault === "chunk_after_terminal") sink.chunk(chunk);
          });
        },
        finish() {
          if (!asked) pace.after(0, () => attempt.end("empty", "finished without arguments"));
        },
        cancel: () => attempt.end("cancelled", "cancelled"),
      };
    },
  };
}
