/** `rspp schema`: the contracts as the platform serves them, and recordings checked against them offline (F-032). */
import { readFile, writeFile } from "node:fs/promises";
import {
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  fromJsonString,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { RegistryService } from "@rspp/gen/rspp/registry/v1/registry_service_pb";
import { validate } from "@rspp/wire/validate";
import type { SchemaOptions } from "../commands/schema.ts";
import { EXIT_FAILED, EXIT_OK, InputError, usageError } from "../errors.ts";
import { createPrinter, type Printer } from "../output/printer.ts";
import { paint } from "../output/style.ts";
import { bytesWords, countWords } from "../output/words.ts";
import { connectTo } from "../platform-client/connect.ts";

const problemsShown = 20;

export async function schema(options: SchemaOptions): Promise<number> {
  const printer = createPrinter(options.json ?? false);
  if (options.check === undefined) return save(options, printer);
  if (options.schema === undefined)
    throw usageError(
      "--check needs descriptors",
      "save them with `rspp schema --out rspp.binpb`, and name them with --schema",
    );
  return check(options.check, options.schema, options.message, printer);
}

async function save(options: SchemaOptions, printer: Printer): Promise<number> {
  const registry = connectTo("registry", options.registry, RegistryService, options);
  const answer = await registry.ask((client) => client.getSchema({ schemaVersion: options.schemaVersion }));
  const file = options.out ?? `rspp-schema-v${answer.schemaVersion}.binpb`;
  try {
    await writeFile(file, answer.fileDescriptorSet);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "error";
    throw new InputError(
      `--out ${file}: cannot be written (${code})\n   help: name a file in a folder you may write to`,
    );
  }
  const files = [...registryOf(answer.fileDescriptorSet, file).files].map(({ name }) => `${name}.proto`);
  const bytes = answer.fileDescriptorSet.length;
  printer.data({ schema_version: answer.schemaVersion, file, bytes, protos: files.sort() });
  printer.line(
    `schema version ${answer.schemaVersion} is in ${file} (${countWords(files.length, "proto file")}, ${bytesWords(bytes)})`,
  );
  return EXIT_OK;
}

function registryOf(bytes: Uint8Array, file: string): FileRegistry {
  try {
    return createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
  } catch {
    throw new InputError(`${file}: holds no FileDescriptorSet\n   help: save one with \`rspp schema --out FILE\``);
  }
}

interface LineProblem {
  line: number;
  field: string;
  message: string;
}

async function check(file: string, schemaFile: string, name: string, printer: Printer): Promise<number> {
  const registry = registryOf(await bytesOf(schemaFile), schemaFile);
  const message = registry.getMessage(name);
  if (message === undefined)
    throw usageError(`${schemaFile} knows no message ${name}`, "name one of its messages in full with --message");
  const lines = (await bytesOf(file)).toString("utf8").split("\n");
  const problems: LineProblem[] = [];
  let checked = 0;
  for (const [i, text] of lines.entries()) {
    if (text.trim() === "") continue;
    checked += 1;
    problems.push(...problemsOf(message, text, registry).map((problem) => ({ line: i + 1, ...problem })));
  }
  const ok = problems.length === 0 && checked > 0;
  printer.data({ ok, file, schema: schemaFile, message: name, checked, problems: problems.slice(0, 1_000) });
  for (const { line, field, message: words } of problems.slice(0, problemsShown))
    printer.note(`${file}:${line}: ${field === "" ? "" : `${field}: `}${words}`);
  if (problems.length > problemsShown) printer.note(`… and ${problems.length - problemsShown} more`);
  const verdict = ok
    ? paint("green", "valid")
    : paint("red", checked === 0 ? "empty" : `${countWords(problems.length, "problem")}`);
  printer.line(`${file}: ${countWords(checked, "record")} of ${name} checked with ${schemaFile}: ${verdict}`);
  return ok ? EXIT_OK : EXIT_FAILED;
}

function problemsOf(schema: DescMessage, text: string, registry: FileRegistry): Omit<LineProblem, "line">[] {
  try {
    const checked = validate(schema, fromJsonString(schema, text, { registry }));
    if (checked.ok) return [];
    const { violations } = checked.error;
    return violations.map(({ field, message }) => ({ field, message }));
  } catch (error) {
    return [{ field: "", message: error instanceof Error ? error.message : String(error) }];
  }
}

async function bytesOf(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "error";
    throw new InputError(`${path}: cannot be read (${code})\n   help: name an existing file`);
  }
}
