import { AudioCodec } from "@rspp/gen/rspp/event/v1/audio_pb";

const codecs = [AudioCodec.PCM_S16LE, AudioCodec.MULAW, AudioCodec.ALAW];

/** Formats that every vendor's recogniser takes; what the vendor does not take is converted. */
export const hearingFormats = codecs.flatMap((codec) =>
  [8_000, 16_000, 24_000, 48_000].map((sampleRateHz) => ({ codec, sampleRateHz, channels: 1 })),
);
