import { dirname, normalize } from "node:path/posix";
import { blankNonCode, lineOf } from "./blank.ts";

export interface Import {
  readonly specifier: string;
  readonly line: number;
  readonly typeOnly: boolean;
}

// Run over blanked code, so the quotes are there and what stands between them is read from the source.
const importForms = [
  /\b(?:import|export)\b(?<type>\s+type\b)?[\w$\s{},*]*?\bfrom\s*["']/g,
  /\bimport\s*["']/g,
  /\b(?:import|require)\s*\(\s*["'`]/g,
];

/** Every module that a source names: static, re-exported, for its side effects, dynamic, as a type, or required. */
export function importsOf(source: string): Import[] {
  const code = blankNonCode(source);
  return importForms.flatMap((form) =>
    [...code.matchAll(form)].map((match) => {
      const start = match.index + match[0].length;
      const end = code.indexOf(code[start - 1] ?? '"', start);
      return {
        specifier: source.slice(start, end),
        line: lineOf(source, start),
        typeOnly: match.groups?.type !== undefined,
      };
    }),
  );
}

interface RoomRule {
  /** Rooms it may import; a room in `typesOnly` only by `import type`. */
  readonly rooms: readonly string[];
  readonly typesOnly?: readonly string[];
  readonly node: boolean;
  /** Packages from outside: none, or those its own package.json declares. */
  readonly packages: "none" | "declared";
}

const allLibs = [
  "base",
  "kernel",
  "protocol",
  "ports",
  "spec",
  "audio",
  "wire",
  "rpc",
  "store",
  "client",
  "node-sdk",
  "host",
  "remote",
  "telemetry",
  "transport",
];

/** The table of rooms. A room under libs/ that is not in it is refused until it is given its line. */
const libRules: Readonly<Record<string, RoomRule>> = {
  base: { rooms: [], node: false, packages: "none" },
  kernel: { rooms: ["base"], node: false, packages: "none" },
  protocol: { rooms: ["base"], node: false, packages: "none" },
  ports: { rooms: ["base", "kernel"], typesOnly: ["kernel"], node: true, packages: "none" },
  spec: { rooms: ["base", "kernel"], node: true, packages: "declared" },
  audio: { rooms: ["base"], node: true, packages: "declared" },
  wire: { rooms: ["base", "kernel", "protocol", "gen"], node: true, packages: "declared" },
  rpc: { rooms: ["base", "protocol", "wire", "gen"], node: true, packages: "declared" },
  store: { rooms: ["base"], node: true, packages: "declared" },
  telemetry: { rooms: ["base", "rpc"], node: true, packages: "declared" },
  remote: { rooms: ["base", "ports", "protocol", "wire", "rpc", "gen"], node: true, packages: "declared" },
  host: { rooms: ["base", "ports", "gen", "rpc", "store", "telemetry"], node: true, packages: "declared" },
  transport: {
    rooms: ["base", "kernel", "ports", "protocol", "audio", "wire", "rpc", "host", "remote", "telemetry", "gen"],
    node: true,
    packages: "declared",
  },
  client: { rooms: ["gen"], node: false, packages: "declared" },
  "node-sdk": { rooms: ["base", "kernel", "ports"], typesOnly: ["ports"], node: true, packages: "none" },
};
const serviceRule: RoomRule = { rooms: [...allLibs, "gen"], node: true, packages: "declared" };

const testPackages = new Set(["vitest", "fast-check", "wabt"]);

export interface Room {
  /** As in its package: `@rspp/<name>`. */
  readonly name: string;
  readonly dir: string;
  readonly kind: "lib" | "service" | "cli";
}

/** The room a file belongs to; undefined outside libs/, services/ and cli/, where no edges are checked. */
export function roomOf(path: string): Room | undefined {
  const [top, second] = path.split("/");
  if (top === "cli") return { name: "cli", dir: "cli", kind: "cli" };
  if (second === undefined || (top !== "libs" && top !== "services")) return undefined;
  return { name: second, dir: `${top}/${second}`, kind: top === "libs" ? "lib" : "service" };
}

/**
 * What is wrong with the imports of one file, a line each.
 * `declared`: the dependencies of the room's package.json.
 */
export function edgeProblems(path: string, source: string, declared: ReadonlySet<string>): string[] {
  const room = roomOf(path);
  if (room === undefined) return [];
  const rule = room.kind === "lib" ? libRules[room.name] : serviceRule;
  if (rule === undefined && room.kind === "lib")
    return [`${path}: libs/${room.name} has no line in the table of test/tidy/imports.ts`];
  return importsOf(source).flatMap((found) => {
    const problem = problemOf(path, room, rule ?? serviceRule, found, declared);
    return problem === undefined ? [] : [`${path}:${found.line}: ${problem}`];
  });
}

function problemOf(
  path: string,
  room: Room,
  rule: RoomRule,
  found: Import,
  declared: ReadonlySet<string>,
): string | undefined {
  const { specifier } = found;
  const isTest = /\.test\.ts$/.test(path);
  if (specifier.startsWith(".")) return relativeProblem(path, room, specifier);
  if (specifier.startsWith("node:")) {
    return rule.node || isTest || room.kind === "cli" ? undefined : `${room.name} imports no ${specifier}: it is pure`;
  }
  const name = packageOf(specifier);
  // A suite shared by several tests stands in its room's `testing` folder.
  if ((isTest || path.includes("/src/testing/")) && testPackages.has(name)) return undefined;
  if (name === `@rspp/${room.name}`) return `${specifier} is this room itself: import it relatively`;
  if (!name.startsWith("@rspp/") && room.kind !== "cli" && rule.packages === "none")
    return `${room.name} imports no package, found ${specifier}`;
  if (name.startsWith("@rspp/")) {
    const refused = roomProblem(room, rule, name.slice("@rspp/".length), found);
    if (refused !== undefined) return refused;
  }
  return declared.has(name) ? undefined : `${name} is not in ${room.dir}/package.json: declare it there`;
}

function relativeProblem(path: string, room: Room, specifier: string): string | undefined {
  const target = normalize(`${dirname(path)}/${specifier}`);
  if (target.startsWith(`${room.dir}/`) || room.kind === "cli") return undefined;
  return `${specifier} climbs out of ${room.dir}: import @rspp/<room>/<file>, where the table allows it`;
}

function roomProblem(room: Room, rule: RoomRule, target: string, found: Import): string | undefined {
  if (room.kind === "cli") return undefined;
  if (!rule.rooms.includes(target)) {
    const allowed = rule.rooms.length === 0 ? "nothing" : rule.rooms.join(", ");
    return `${room.dir} must not import @rspp/${target}; it may import ${allowed}`;
  }
  if (rule.typesOnly?.includes(target) && !found.typeOnly)
    return `${room.dir} may import types only from @rspp/${target}: use import type`;
  return undefined;
}

function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}
