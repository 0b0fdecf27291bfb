import { createSystemClock } from "@rspp/host/system-clock";
import { createResponder } from "@rspp/provider-gateway/local/responder";
import { createSimStt } from "@rspp/provider-gateway/sim/stt";
import { createSimTts } from "@rspp/provider-gateway/sim/tts";
import { expect, test } from "vitest";
import { checkProvider } from "./check.ts";

const clock = createSystemClock();

test("F-055 a provider that keeps its contract passes every check; one that says too much or nothing is found out", async () => {
  for (const create of [createResponder, createSimStt, createSimTts]) {
    const checks = await checkProvider(create({ clock }), clock);
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(checks.length).toBe(6);
  }
  const mute = await checkProvider(
    {
      name: "test/mute",
      modality: "llm",
      open: (_request, sink) => ({
        push: () => {},
        finish: () => sink.outcome({ kind: "success", detail: "" }),
        cancel: () => sink.outcome({ kind: "cancelled", detail: "" }),
      }),
    },
    clock,
  );
  expect(mute.filter(({ ok }) => !ok).map(({ what }) => what)).toEqual([
    "answers, streaming",
    "answers, not streaming",
    "takes other scripts",
    "takes much",
    "nothing asked is empty",
  ]);
});
