/**
 * Errors that the Connect library raises itself, before any interceptor sees the call (bytes that are no message, a message
 * past its size), get their entry of the catalogue here, in the form of the protocol in use.
 */
import { Code, ConnectError, createContextKey, createContextValues } from "@connectrpc/connect";
import {
  createAsyncIterable,
  type UniversalHandler,
  type UniversalServerRequest,
  type UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  createEndStreamSerialization,
  endStreamFlag,
  errorFromJsonBytes,
  errorToJsonBytes,
} from "@connectrpc/connect/protocol-connect";
import { findTrailerError, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { trailerFlag, trailerParse, trailerSerialize } from "@connectrpc/connect/protocol-grpc-web";
import { ErrorDetailSchema, ErrorReason } from "@rspp/gen/rspp/common/v1/error_pb";
import { errorOfCode, rpcError, toConnectError } from "./errors.ts";

const envelopeHeaderBytes = 5;

export interface ErrorBodyOptions {
  readonly domain: string;
  readonly messageBytesMax: number;
}

interface ErrorContext extends ErrorBodyOptions {
  /** Whether the request was read as a message, so that what failed came later. */
  reached(): boolean;
}

/** Set by the outermost interceptor. */
export const reachedKey = createContextKey(false, { description: "the request was read" });

/** The handler with details on every error it answers with. */
export function withErrorDetails(handler: UniversalHandler, wanted: ErrorBodyOptions): UniversalHandler {
  const wrapped = async (request: UniversalServerRequest): Promise<UniversalServerResponse> => {
    const type = request.header.get("content-type") ?? "";
    const contextValues = request.contextValues ?? createContextValues();
    const options: ErrorContext = { ...wanted, reached: () => contextValues.get(reachedKey) };
    const response = await handler({ ...request, contextValues });
    if (type.startsWith("application/grpc-web")) return mapBody(response, (chunk) => webTrailer(chunk, options));
    if (type.startsWith("application/grpc")) return grpcTrailer(response, options);
    if (type.startsWith("application/connect+")) return mapBody(response, (chunk) => endOfStream(chunk, options));
    return response.status < 400 ? response : unaryError(response, options);
  };
  return Object.assign(wrapped, handler);
}

/** The same error with its detail; as it is when it has one. */
function detailed(error: ConnectError, options: ErrorContext): ConnectError {
  if (error.findDetails(ErrorDetailSchema).length > 0) return error;
  const { domain, messageBytesMax } = options;
  // The library calls bytes that it cannot read an internal error.
  const unreadable = error.code === Code.InvalidArgument || (error.code === Code.Internal && !options.reached());
  if (unreadable) return toConnectError(rpcError(ErrorReason.MALFORMED_FRAME, { domain, metadata: factsOf(error) }));
  const known =
    error.code === Code.ResourceExhausted
      ? rpcError(ErrorReason.MESSAGE_TOO_LARGE, { domain, metadata: { bytes_max: String(messageBytesMax) } })
      : errorOfCode(error.code, domain);
  return withCode(toConnectError(known), error.code);
}

/** The same text and details under the code the library chose: clients fall back on `unimplemented`, for one. */
export function withCode(error: ConnectError, code: Code): ConnectError {
  const details = error.details.filter((detail) => "desc" in detail);
  return new ConnectError(error.rawMessage, code, undefined, details);
}

/** JSON readers name the field they stopped at; that name is told, nothing else of their text. */
function factsOf(error: ConnectError): Record<string, string> {
  const field = /(?:decode field|decode message) ([\w.]+)/.exec(error.rawMessage)?.[1];
  return field === undefined ? {} : { field };
}

function mapBody(response: UniversalServerResponse, map: (chunk: Uint8Array) => Uint8Array): UniversalServerResponse {
  const { body } = response;
  if (body === undefined) return response;
  return { ...response, body: mapped(body, map) };
}

async function* mapped(body: AsyncIterable<Uint8Array>, map: (chunk: Uint8Array) => Uint8Array) {
  for await (const chunk of body) yield map(chunk);
}

function grpcTrailer(response: UniversalServerResponse, options: ErrorContext): UniversalServerResponse {
  const { body, trailer } = response;
  if (trailer === undefined) return response;
  const mend = (): void => {
    const error = findTrailerError(trailer);
    if (error !== undefined) setTrailerStatus(trailer, detailed(error, options));
  };
  if (body === undefined) {
    mend();
    return response;
  }
  return { ...response, body: thenDo(body, mend) };
}

async function* thenDo(body: AsyncIterable<Uint8Array>, after: () => void) {
  yield* body;
  after();
}

/** The message of an envelope that has `flag`; null for any other chunk. */
function flagged(chunk: Uint8Array, flag: number): Uint8Array | null {
  const plain = chunk.length >= envelopeHeaderBytes && chunk[0] === flag;
  return plain ? chunk.subarray(envelopeHeaderBytes) : null;
}

function envelope(flag: number, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(envelopeHeaderBytes + data.length);
  out[0] = flag;
  new DataView(out.buffer).setUint32(1, data.length);
  out.set(data, envelopeHeaderBytes);
  return out;
}

function webTrailer(chunk: Uint8Array, options: ErrorContext): Uint8Array {
  const data = flagged(chunk, trailerFlag);
  if (data === null) return chunk;
  const trailer = trailerParse(data);
  const error = findTrailerError(trailer);
  if (error === undefined) return chunk;
  return envelope(trailerFlag, trailerSerialize(setTrailerStatus(trailer, detailed(error, options))));
}

const endStreams = createEndStreamSerialization(undefined);

function endOfStream(chunk: Uint8Array, options: ErrorContext): Uint8Array {
  const data = flagged(chunk, endStreamFlag);
  if (data === null) return chunk;
  const end = endStreams.parse(data);
  if (end.error === undefined) return chunk;
  const mended = endStreams.serialize({ metadata: end.metadata, error: detailed(end.error, options) });
  return envelope(endStreamFlag, mended);
}

async function unaryError(response: UniversalServerResponse, options: ErrorContext): Promise<UniversalServerResponse> {
  if (response.body === undefined) return response;
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body) chunks.push(chunk);
  const text = Buffer.concat(chunks);
  const fallback = new ConnectError("unreadable", Code.Unknown);
  const error = errorFromJsonBytes(text, undefined, fallback);
  const known = error === fallback ? null : detailed(error, options);
  const body = known === null ? text : errorToJsonBytes(known, undefined);
  const header = new Headers(response.header);
  header.set("content-length", String(body.length));
  const status = known === null ? response.status : codeToHttpStatus(known.code);
  return { ...response, status, header, body: createAsyncIterable([body]) };
}
