/** Modules as files beside a spec: `modules/NAME@VERSION.yaml` in its folder or the one above (F-019). */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ModuleLibrary } from "@rspp/spec/module-library";

const suffix = /\.(yaml|yml|json)$/;

/** @param specPath of the spec that uses them; nothing is read before it is asked for. */
export function modulesBeside(specPath: string): ModuleLibrary {
  const folder = dirname(specPath);
  const folders = [join(folder, "modules"), join(folder, "..", "modules"), folder];
  return {
    find: (use) => {
      for (const at of folders) {
        for (const ending of ["yaml", "yml", "json"]) {
          const file = join(at, `${use}.${ending}`);
          const text = textOf(file);
          if (text !== undefined) return { file, text };
        }
      }
      return undefined;
    },
    names: () => [...new Set(folders.flatMap(namesIn))].sort(),
  };
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

function namesIn(folder: string): string[] {
  try {
    const files = readdirSync(folder).filter((file) => suffix.test(file) && file.includes("@"));
    return files.map((file) => file.replace(suffix, ""));
  } catch {
    return [];
  }
}
