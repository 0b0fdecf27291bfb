/** Errors of the catalogue as grpc-js statuses, both ways. */

import { Code } from "@connectrpc/connect";
import { findTrailerError, headerStatusDetailsBin, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { Metadata, type StatusObject, type status } from "@grpc/grpc-js";
import { errorOfCode, fromConnectError, type RpcError, toConnectError } from "./errors.ts";

const detailsKey = headerStatusDetailsBin.toLowerCase();

/** What a grpc-js server ends a call with. */
export function toGrpcStatus(error: RpcError): StatusObject {
  const trailer = setTrailerStatus(new Headers(), toConnectError(error));
  const metadata = new Metadata();
  metadata.set(detailsKey, Buffer.from(trailer.get(headerStatusDetailsBin) ?? "", "base64"));
  return { code: error.code as number as status, details: error.message, metadata };
}

/** What a grpc-js client got. `domain` is told where the peer gave no detail. */
export function fromGrpcStatus(status: Partial<StatusObject>, domain: string): RpcError {
  const code = Code[status.code ?? Code.Unknown] === undefined ? Code.Unknown : (status.code as number as Code);
  const bytes = status.metadata?.get(detailsKey)[0];
  if (!Buffer.isBuffer(bytes)) return errorOfCode(code, domain, status);
  try {
    const found = findTrailerError(new Headers({ [headerStatusDetailsBin]: bytes.toString("base64") }));
    return found === undefined ? errorOfCode(code, domain, status) : fromConnectError(found, domain);
  } catch {
    // Details nobody can read are as good as none.
    return errorOfCode(code, domain, status);
  }
}
