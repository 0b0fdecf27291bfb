/** Where the modules of a spec come from: texts beside it, or further documents of its own text (F-019). */
import { isMap, type LineCounter } from "yaml";
import { MODULE_SCHEMA } from "./module-schema.ts";
import { suggest } from "./nearest.ts";
import type { Place, PlaceOrigin, ProblemList } from "./problem.ts";
import { fieldText, readYaml, START, type YamlText } from "./read-yaml.ts";
import type { ModuleSource } from "./spec.ts";
import { positionOf } from "./walk-state.ts";

/** Gives the text of a module by `name@version`; made by who may read files. The registry has none. */
export interface ModuleLibrary {
  find(use: string): { file: string; text: string } | undefined;
  /** What `find` would give, for hints. */
  names(): readonly string[];
}

export interface HeldModule {
  use: string;
  root: unknown;
  lines: LineCounter;
  origin: PlaceOrigin;
}

/** Provenance of what a module gives. */
export function moduleSourceName(use: string): string {
  return `module/${use}`;
}

/** The modules of one parse; each text is read once. */
export class HeldModules {
  readonly #held = new Map<string, HeldModule | null>();
  readonly #problems: ProblemList;
  readonly #library: ModuleLibrary | undefined;
  readonly sources: ModuleSource[] = [];

  constructor(problems: ProblemList, library: ModuleLibrary | undefined) {
    this.#problems = problems;
    this.#library = library;
  }

  /** Takes the documents after the first. What stands in the text itself goes before what lies beside it. */
  addBundled({ roots, lines }: YamlText, file: string): void {
    for (const root of roots.slice(1)) {
      const at = positionOf({ lines }, root, START);
      const use = `${fieldText(root, "name") ?? ""}@${fieldText(root, "version") ?? ""}`;
      if (!isMap(root) || fieldText(root, "schema") !== MODULE_SCHEMA) {
        const message = "a second document, which is no module";
        const remedy = `put one spec in one file; only modules (schema: ${MODULE_SCHEMA}) may stand behind it`;
        this.#problems.add(at, { path: "", code: "syntax", message, remedy });
      } else if (this.#held.has(use)) {
        const message = `module ${use} stands in this text twice`;
        this.#problems.add(at, { path: "", code: "duplicate_id", message, remedy: "keep one of them" });
      } else this.#held.set(use, { use, root, lines, origin: { file, source: moduleSourceName(use) } });
    }
  }

  /** null, and reported at the use, where there is no such module. */
  find(use: string, place: Place, path: string): HeldModule | null {
    const known = this.#held.get(use);
    if (known !== undefined) return known;
    const found = this.#library?.find(use);
    if (found === undefined) {
      const names = [...this.#held.keys(), ...(this.#library?.names() ?? [])];
      const bare = use.slice(0, use.indexOf("@"));
      const others = names.filter((name) => name.startsWith(`${bare}@`));
      const remedy =
        others.length > 0
          ? `there is ${others.join(", ")}: name the version you mean`
          : names.length > 0
            ? suggest(use, names, "modules")
            : "put it into modules/ beside the spec as NAME@VERSION.yaml, or behind the spec as a document of its own (---)";
      this.#problems.add(place, { path, code: "unknown_module", message: `no module ${use} is known`, remedy });
      return null;
    }
    const held = this.#read(use, found.file, found.text);
    this.#held.set(use, held);
    return held;
  }

  #read(use: string, file: string, text: string): HeldModule | null {
    const origin: PlaceOrigin = { file, source: moduleSourceName(use), lines: text.split(/\r?\n/) };
    const yaml = readYaml(text, this.#problems, origin);
    if (yaml === null) return null;
    const [root] = yaml.roots;
    this.sources.push({ use, file, text });
    const own = `${fieldText(root, "name") ?? ""}@${fieldText(root, "version") ?? ""}`;
    if (own !== use && isMap(root)) {
      const message = `this file is asked for as ${use} and calls itself ${own}`;
      const remedy = "name the file NAME@VERSION.yaml by what stands in it";
      this.#problems.add({ ...START, origin }, { path: "name", code: "module_mismatch", message, remedy });
      return null;
    }
    return { use, root, lines: yaml.lines, origin };
  }
}

/**
 * A text that needs no files: the spec with the modules it uses behind it, a document each. The lines of the spec keep their
 * numbers.
 */
export function bundleSpec(text: string, library: readonly ModuleSource[]): string {
  const parts = library.map((module) => module.text.replace(/^\uFEFF?(---[ \t]*\r?\n)?/, "").trimEnd());
  return parts.length === 0 ? text : `${[text.trimEnd(), ...parts].join("\n---\n")}\n`;
}
