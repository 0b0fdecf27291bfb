/** What a spec may say and a careful author would not: warnings of `rspp lint`, errors with --strict (F-126). */
import type { PipelineSpec } from "@rspp/spec/spec";
import type { SpecFinding } from "./spec-file.ts";

interface Advice {
  path: string;
  message: string;
  remedy: string;
}

/** In order of the file. */
export function adviceOn(spec: PipelineSpec): SpecFinding[] {
  const { file, positions } = spec.origin;
  return [...profileAdvice(spec), ...nodeAdvice(spec), ...recordingAdvice(spec)]
    .map((advice): SpecFinding => {
      const at = positions.get(advice.path) ?? nearest(positions, advice.path);
      return { severity: "warning", file, ...at, code: "not_allowed", sensitive: false, ...advice };
    })
    .sort((a, b) => a.line - b.line || a.column - b.column);
}

function nearest(positions: PipelineSpec["origin"]["positions"], path: string) {
  for (let at = path; at !== ""; at = at.replace(/(\.[^.[]+|\[\d+\]|^[^.[]+)$/, "")) {
    const found = positions.get(at);
    if (found !== undefined) return found;
  }
  return { line: 1, column: 1 };
}

function profileAdvice({ profile }: PipelineSpec): Advice[] {
  if (profile !== undefined) return [];
  const message = "no profile is named, so its defaults change when the platform's default does";
  return [{ path: "profile", message, remedy: "pin it, e.g. `profile: simple/v1`" }];
}

function nodeAdvice({ nodes }: PipelineSpec): Advice[] {
  return nodes.flatMap((node, i): Advice[] => {
    if (node.provider === undefined) return [];
    const path = `nodes[${i}].provider.candidates`;
    const names = node.provider.candidates.map((candidate) =>
      typeof candidate === "string" ? candidate : candidate.name,
    );
    if (names.every((name) => name.startsWith("sim/"))) {
      const message = `node ${node.id} has simulated providers alone: no caller is served by them`;
      return [{ path, message, remedy: "put a real provider first" }];
    }
    if (names[0]?.startsWith("sim/")) {
      const message = `node ${node.id} tries the simulation before ${names.find((name) => !name.startsWith("sim/"))}`;
      return [{ path, message, remedy: "move the simulated provider to the end" }];
    }
    return [];
  });
}

function recordingAdvice({ recording }: PipelineSpec): Advice[] {
  if (recording?.level !== "L2") return [];
  const message = "every session keeps what was said (L2), which needs a permission in production";
  return [{ path: "recording.level", message, remedy: "use L0 or L1 here and raise single sessions" }];
}
