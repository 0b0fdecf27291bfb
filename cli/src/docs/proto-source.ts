/**
 * The contracts as their source tells them: comments, types and limits. Generated descriptors hold no comments, so the
 * `.proto` files are read; what is read is the part of the language these contracts use.
 */

export interface ProtoField {
  readonly name: string;
  /** As written, e.g. `string`, `rspp.common.v1.Page`, `map<string, string>`. */
  readonly type: string;
  readonly repeated: boolean;
  /** Oneof it belongs to; "" for none. */
  readonly oneof: string;
  readonly about: string;
  /** Options of the field, whitespace normalised, e.g. `(buf.validate.field).string.max_len = 64`. */
  readonly options: readonly string[];
}

export interface ProtoMessage {
  /** With its outer messages, e.g. `Outer.Inner`. */
  readonly name: string;
  readonly about: string;
  readonly fields: readonly ProtoField[];
}

export interface ProtoEnum {
  readonly name: string;
  readonly about: string;
  readonly values: readonly { readonly name: string; readonly number: number; readonly about: string }[];
}

export interface ProtoMethod {
  readonly name: string;
  readonly about: string;
  readonly input: string;
  readonly output: string;
  readonly clientStreams: boolean;
  readonly serverStreams: boolean;
  /** Least role that may call it, e.g. `viewer`; "" where the contract says none. */
  readonly role: string;
}

export interface ProtoService {
  readonly name: string;
  readonly about: string;
  readonly methods: readonly ProtoMethod[];
}

export interface ProtoFile {
  readonly package: string;
  readonly about: string;
  readonly services: ProtoService[];
  readonly messages: ProtoMessage[];
  readonly enums: ProtoEnum[];
}

interface Token {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

const tokenForm = /\/\/[^\n]*|"(?:\\.|[^"\\])*"|[A-Za-z_][\w.]*|\d[\w.]*|\S/g;

export function parseProto(source: string): ProtoFile {
  const tokens = [...source.matchAll(tokenForm)].map(
    ({ 0: text, index }): Token => ({ text, start: index, end: index + text.length }),
  );
  const reader = new Reader(source, tokens);
  reader.block("", null);
  return reader.file;
}

interface Open {
  readonly kind: "message" | "enum" | "service" | "oneof";
  readonly name: string;
  readonly fields: ProtoField[];
  readonly values: { name: string; number: number; about: string }[];
  readonly methods: ProtoMethod[];
}

class Reader {
  readonly file: { package: string; about: string } & ProtoFile = {
    package: "",
    about: "",
    services: [],
    messages: [],
    enums: [],
  };
  readonly #source: string;
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(source: string, tokens: readonly Token[]) {
    this.#source = source;
    this.#tokens = tokens;
  }

  /** Statements up to the closing brace of `outer`, or the end. */
  block(path: string, outer: Open | null): void {
    let about: string[] = [];
    for (let token = this.#next(); token !== undefined; token = this.#next()) {
      if (token.text === "}") return;
      if (token.text.startsWith("//")) about.push(token.text.replace(/^\/\/ ?/, ""));
      else {
        this.#statement(token, about.join(" ").trim(), path, outer);
        about = [];
      }
    }
  }

  #next(): Token | undefined {
    return this.#tokens[this.#at++];
  }

  #statement(first: Token, about: string, path: string, outer: Open | null): void {
    const { tokens, opened, text } = this.#read(first);
    const [keyword = "", name = ""] = tokens;
    if (opened && (keyword === "message" || keyword === "enum" || keyword === "service" || keyword === "oneof"))
      return this.#declaration(keyword, name, about, path, outer);
    if (opened) {
      this.#skip();
      const body = this.#source.slice(first.start, this.#tokens[this.#at - 1]?.end);
      if (keyword === "rpc") outer?.methods.push(methodOf(body, name, about));
      return;
    }
    if (keyword === "package") (this.file as { package: string }).package = name;
    else if (keyword === "syntax") (this.file as { about: string }).about = about;
    else if (keyword === "rpc") outer?.methods.push(methodOf(text, name, about));
    else if (outer?.kind === "enum" && keyword !== "option" && keyword !== "reserved")
      outer.values.push({ name: keyword, number: Number(tokens[2]), about });
    else if (outer !== null && outer.kind !== "service" && keyword !== "option" && keyword !== "reserved")
      outer.fields.push(fieldOf(text, outer.kind === "oneof" ? outer.name : "", about));
  }

  /** One statement up to `;` or an opening brace; braces within brackets belong to it. */
  #read(first: Token): { tokens: string[]; opened: boolean; text: string } {
    const tokens = [first.text];
    let depth = 0;
    let end = first.end;
    for (let token = this.#next(); token !== undefined; token = this.#next()) {
      if (token.text.startsWith("//")) continue;
      if (depth === 0 && token.text === ";")
        return { tokens, opened: false, text: this.#source.slice(first.start, end) };
      if (depth === 0 && token.text === "{") {
        if (first.text !== "option") return { tokens, opened: true, text: this.#source.slice(first.start, end) };
        this.#skip();
        continue;
      }
      if (token.text === "[") depth += 1;
      if (token.text === "]") depth -= 1;
      tokens.push(token.text);
      end = token.end;
    }
    return { tokens, opened: false, text: this.#source.slice(first.start, end) };
  }

  #skip(): void {
    let depth = 1;
    for (let token = this.#next(); token !== undefined && depth > 0; token = depth > 0 ? this.#next() : undefined) {
      if (token.text === "{") depth += 1;
      if (token.text === "}") depth -= 1;
      if (depth === 0) return;
    }
  }

  #declaration(kind: Open["kind"], name: string, about: string, path: string, outer: Open | null): void {
    const open: Open = { kind, name, fields: [], values: [], methods: [] };
    const full = path === "" ? name : `${path}.${name}`;
    const at = this.file.messages.length;
    this.block(kind === "oneof" ? path : full, open);
    if (kind === "oneof") outer?.fields.push(...open.fields);
    else if (kind === "message") this.file.messages.splice(at, 0, { name: full, about, fields: open.fields });
    else if (kind === "enum") this.file.enums.push({ name: full, about, values: open.values });
    else this.file.services.push({ name: full, about, methods: open.methods });
  }
}

function methodOf(text: string, name: string, about: string): ProtoMethod {
  const form = /\(\s*(stream\s+)?([\w.]+)\s*\)\s*returns\s*\(\s*(stream\s+)?([\w.]+)\s*\)/;
  const [, clientStream, input = "", serverStream, output = ""] = form.exec(text) ?? [];
  const streams = { clientStreams: clientStream !== undefined, serverStreams: serverStream !== undefined };
  const role = /\brole:\s*ROLE_(\w+)/.exec(text)?.[1]?.toLowerCase() ?? "";
  return { name, about, input, output, ...streams, role };
}

function fieldOf(text: string, oneof: string, about: string): ProtoField {
  const form = /^(repeated\s+|optional\s+)?(map<[^>]*>|[\w.]+)\s+(\w+)\s*=\s*\d+\s*(?:\[(.*)\])?\s*$/s;
  const [, label = "", type = "", name = "", options = ""] = form.exec(text) ?? [];
  const repeated = label.startsWith("repeated");
  return { name, type: type.replace(/\s+/g, " "), repeated, oneof, about, options: optionsOf(options) };
}

/** At the commas that stand outside of braces and strings. */
function optionsOf(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = "";
  for (const [token] of text.matchAll(/"(?:\\.|[^"\\])*"|\s+|[^"\s{},]+|[{},]/g)) {
    if (token === "{") depth += 1;
    if (token === "}") depth -= 1;
    if (token === "," && depth === 0) {
      parts.push(part.trim());
      part = "";
    } else part += /^\s/.test(token) ? " " : token;
  }
  if (part.trim() !== "") parts.push(part.trim());
  return parts;
}
