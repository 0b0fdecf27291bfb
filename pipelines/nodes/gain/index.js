/** Example node for audio, of the session or of a turn: every sample by a factor, clipped. */
import { defineNode } from "@rspp/node-sdk/node-api";

export const node = defineNode({
  name: "gain",
  version: "1.0.0",
  description: "makes 16-bit audio louder or quieter",
  scope: "either",
  inputs: [{ name: "audio", type: "audio" }],
  outputs: [{ name: "audio", type: "audio" }],
  settings: [{ name: "factor", type: "number", min: 0, max: 8, required: true }],
  limits: { maxInFlight: 4 },
  purity: "pure",
  create: ({ settings }) => ({
    onEvent({ body, emit }) {
      if (body.type !== "audio") return;
      const { buffer, byteOffset, byteLength } = body.bytes;
      const samples = new Int16Array(buffer, byteOffset, byteLength >> 1);
      for (let i = 0; i < samples.length; i++)
        samples[i] = Math.max(-32_768, Math.min(32_767, Math.round(samples[i] * settings.factor)));
      emit("audio", body);
    },
  }),
});
