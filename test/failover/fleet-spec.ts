/** A pipeline whose agent always says the same, long enough to be cut in the middle; the caller pushes to talk. */
export const REPLY =
  "This answer goes on for a while so that a runtime can be lost in the middle of it. It has a second sentence of some length. And it has a third one that ends here.";
/** Milliseconds of audio for one character. */
export const MS_PER_CHAR = 30;

export const SPEC = `
schema: rspp/pipeline/v1
name: fleet
version: 1
description: Simulated providers, push to talk.
profile: simple/v1
recording: {level: L1}
nodes:
  - {id: caller, kind: ingress}
  - {id: vad, kind: vad, settings: {silero: "off"}}
  - {id: stt, kind: stt, provider: {candidates: [sim/stt]}}
  - {id: endpointing, kind: endpointing, settings: {onset_frames: 1, min_speech_ms: 40, candidate_silence_ms: 200, endpoint_silence_ms: 5000}}
  - {id: context, kind: context}
  - id: llm
    kind: llm
    provider: {candidates: [{name: sim/llm, settings: {text: "${REPLY}"}}]}
  - {id: segmenter, kind: segmenter}
  - id: tts
    kind: tts
    provider: {candidates: [{name: sim/tts, settings: {ms_per_char: ${MS_PER_CHAR}}}]}
  - {id: output, kind: output}
edges:
  - caller.audio -> vad.audio
  - caller.audio -> stt.audio
  - vad.activity -> endpointing.activity
  - stt.text -> endpointing.text
  - endpointing.utterance -> context.utterance
  - context.messages -> llm.messages
  - llm.text -> segmenter.text
  - segmenter.text -> tts.text
  - tts.audio -> output.audio
`;
