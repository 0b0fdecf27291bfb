/** Cancels by the hundred: late chunks go nowhere, and every vendor sees its call closed by us, so that no bill runs on. */
import { systemClock } from "@rspp/provider-gateway/testing/clocks";
import { expect, test } from "vitest";
import { ordinary } from "./answers.ts";
import { Conversation } from "./conversation.ts";
import { cancelMs, fakedVendors, vendorStage } from "./vendor-stage.ts";

const EACH = Math.ceil(110 / fakedVendors.length);

test("F-160 F-063 F-064 after a cancel each vendor sees its call closed by us, and what still comes is refused: over 100 cancels", {
  timeout: 60_000,
}, async () => {
  const clock = systemClock();
  let cancels = 0;
  for (const entry of fakedVendors) {
    const stage = await vendorStage(entry, clock);
    for (let i = 0; i < EACH; i++) {
      // Every other one by a vendor that goes on sending for as long as the connection takes it.
      stage.fault(i % 2 === 0 ? "none" : "late_data");
      stage.script({ ...ordinary, chunkMs: 20, audioMs: 2_000 });
      const subject = { name: entry.name, modality: entry.modality };
      const talk = new Conversation(subject, stage, clock, true);
      const ms = await cancelMs(stage, () => {
        talk.feed();
        // A recogniser that is sent the whole of it is asked once all was said.
        if (entry.modality !== "stt" || entry.capabilities.streamingInput !== true) talk.finish();
        const called = talk.until(() => talk.calls().length > 0 || talk.sink.outcomes.length > 0, "the vendor's call");
        return {
          started: called.then(() => talk.sink.outcomes.length === 0),
          cancel: () => talk.invocation.cancel("barge_in"),
        };
      });
      if (ms === undefined) continue;
      cancels += 1;
      // How fast is the benchmark's to say (P-gateway); that it is closed, and by us, holds on any machine.
      expect(ms, entry.name).toBeLessThan(5_000);
      const { length } = talk.sink.chunks;
      await talk.quiet();
      expect(talk.sink.chunks.length).toBe(length);
      expect(talk.sink.outcomes.map(({ kind }) => kind)).toEqual(["cancelled"]);
    }
    expect(stage.fake.violations).toEqual([]);
    await stage.provider.close?.();
    await stage.close();
  }
  expect(cancels).toBeGreaterThanOrEqual(100);
});
