import { AudioCodec } from "@rspp/gen/rspp/event/v1/audio_pb";

/** Formats that every vendor's voice gives: setting `output_format`. */
export const speechFormats = [
  { codec: AudioCodec.PCM_S16LE, sampleRateHz: 16_000, channels: 1 },
  { codec: AudioCodec.PCM_S16LE, sampleRateHz: 8_000, channels: 1 },
  { codec: AudioCodec.PCM_S16LE, sampleRateHz: 24_000, channels: 1 },
  { codec: AudioCodec.MULAW, sampleRateHz: 8_000, channels: 1 },
];
