/**
 * The server that the runner of Connect's conformance suite asks for: one request on standard input says how it is to listen,
 * one answer on standard output where it does. It is built with libs/rpc as every service is. Arguments: the folder of the
 * suite's generated contracts.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { create, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import type { GenMessage, GenService, GenServiceMethods } from "@bufbuild/protobuf/codegenv2";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { type Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { route } from "@rspp/rpc/route";
import { startRpcServer } from "@rspp/rpc/server";

interface Header {
  readonly name: string;
  readonly value: readonly string[];
}
interface Definition {
  readonly responseHeaders: readonly Header[];
  readonly responseTrailers: readonly Header[];
  readonly responseDelayMs: number;
  readonly response?:
    | { readonly case: "responseData"; readonly value: Uint8Array }
    | { readonly case: "error"; readonly value: Failure };
  /** Of streams. */
  readonly responseData?: readonly Uint8Array[];
  readonly error?: Failure;
}
interface Failure {
  readonly code: Code;
  readonly message?: string;
  readonly details: readonly Any[];
}
type Request = Message & { readonly responseDefinition?: Definition; readonly fullDuplex?: boolean };
type Generated = Record<string, GenMessage<Message>> & { ConformanceService: GenService<GenServiceMethods> };

const [folder = ""] = process.argv.slice(2);
const load = (name: string): Promise<Generated> =>
  import(pathToFileURL(join(folder, `connectrpc/conformance/v1/${name}_pb.js`)).href);
const [contracts, compat] = await Promise.all([load("service"), load("server_compat")]);

function schema(name: string, from = contracts): GenMessage<Message> {
  const found = from[`${name}Schema`];
  if (found === undefined) throw new Error(`the suite has no message ${name}`);
  return found;
}

function say(headers: readonly Header[] | undefined, to: Headers): void {
  for (const { name, value } of headers ?? []) for (const one of value) to.append(name, one);
}

/** What was asked, as the suite wants it told back. */
function requestInfo(context: HandlerContext, requests: readonly Message[], request: GenMessage<Message>): Message {
  const requestHeaders = [...context.requestHeader].map(([name, value]) => ({ name, value: [value] }));
  const timeoutMs = context.timeoutMs();
  const query = [...new URL(context.url).searchParams].map(([name, value]) => ({ name, value: [value] }));
  return create(schema("ConformancePayload_RequestInfo"), {
    requestHeaders,
    ...(timeoutMs === undefined ? {} : { timeoutMs: BigInt(Math.round(timeoutMs)) }),
    requests: requests.map((message) => anyPack(request, message)),
    ...(query.length === 0 ? {} : { connectGetInfo: { queryParams: query } }),
  } as never);
}

function failureOf({ code, message, details }: Failure, info?: Message): ConnectError {
  const all = info === undefined ? details : [...details, anyPack(schema("ConformancePayload_RequestInfo"), info)];
  const error = new ConnectError(message ?? "", code);
  error.details = all.map(({ typeUrl, value }) => ({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value }));
  return error;
}

const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function once(context: HandlerContext, requests: readonly Request[], name: string): Promise<Message> {
  const definition = requests[0]?.responseDefinition;
  say(definition?.responseHeaders, context.responseHeader);
  say(definition?.responseTrailers, context.responseTrailer);
  const info = requestInfo(context, requests, schema(`${name}Request`));
  if (definition?.responseDelayMs) await after(definition.responseDelayMs);
  if (definition?.response?.case === "error") throw failureOf(definition.response.value, info);
  const data = definition?.response?.value ?? new Uint8Array();
  return create(schema(`${name}Response`), { payload: { data, requestInfo: info } } as never);
}

async function* many(context: HandlerContext, asked: AsyncIterable<Request>, name: string): AsyncGenerator<Message> {
  let definition: Definition | undefined;
  let duplex = false;
  let sent = 0;
  const requests: Request[] = [];
  const answer = async (data: Uint8Array): Promise<Message> => {
    if (definition?.responseDelayMs) await after(definition.responseDelayMs);
    const told = sent === 0 || duplex ? requests.splice(0) : [];
    const info = requestInfo(context, told, schema(`${name}Request`));
    sent += 1;
    return create(schema(`${name}Response`), { payload: { data, requestInfo: info } } as never);
  };
  for await (const request of asked) {
    if (definition === undefined) {
      definition = request.responseDefinition;
      duplex = request.fullDuplex === true;
      say(definition?.responseHeaders, context.responseHeader);
      say(definition?.responseTrailers, context.responseTrailer);
    }
    requests.push(request);
    const data = duplex ? definition?.responseData?.[sent] : undefined;
    if (data !== undefined) yield await answer(data);
    // Nothing is left to be answered to who waits for each answer.
    else if (duplex) break;
  }
  for (const data of definition?.responseData?.slice(sent) ?? []) yield await answer(data);
  if (definition?.error !== undefined) {
    const info = sent === 0 ? requestInfo(context, requests, schema(`${name}Request`)) : undefined;
    throw failureOf(definition.error, info);
  }
}

async function* one(request: Request): AsyncGenerator<Request> {
  yield request;
}

async function all(requests: AsyncIterable<Request>): Promise<Request[]> {
  const taken: Request[] = [];
  for await (const request of requests) taken.push(request);
  return taken;
}

async function readRequest(): Promise<Uint8Array> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of process.stdin) {
    bytes = Buffer.concat([bytes, chunk as Buffer]);
    if (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0)) break;
  }
  return bytes.subarray(4, 4 + bytes.readUInt32BE(0));
}

const asked = fromBinary(schema("ServerCompatRequest", compat), await readRequest()) as Message & {
  messageReceiveLimit: number;
};
const implementation = {
  unary: (request: Request, context: HandlerContext) => once(context, [request], "Unary"),
  idempotentUnary: (request: Request, context: HandlerContext) => once(context, [request], "IdempotentUnary"),
  clientStream: async (requests: AsyncIterable<Request>, context: HandlerContext) =>
    once(context, await all(requests), "ClientStream"),
  serverStream: (request: Request, context: HandlerContext) => many(context, one(request), "ServerStream"),
  bidiStream: (requests: AsyncIterable<Request>, context: HandlerContext) => many(context, requests, "BidiStream"),
};
const server = await startRpcServer({
  domain: "conformance",
  host: "127.0.0.1",
  port: 0,
  routes: [route(contracts.ConformanceService, implementation as never)],
  ...(asked.messageReceiveLimit === 0 ? {} : { messageBytesMax: asked.messageReceiveLimit }),
});
const bound = toBinary(
  schema("ServerCompatResponse", compat),
  create(schema("ServerCompatResponse", compat), { host: server.host, port: server.port } as never),
);
const size = Buffer.alloc(4);
size.writeUInt32BE(bound.length);
process.stdout.write(Buffer.concat([size, bound]));
process.once("SIGTERM", () => void server.stop(0).then(() => process.exit(0)));
