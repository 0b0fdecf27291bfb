/** Why a call could not be opened, or could not go on. */

export type ClientErrorReason =
  /** The server refused; `detail` names the catalogue's reason, field and remedy. */
  | "refused"
  /** No connection could be made, or none any more within the time the session waits. */
  | "unreachable"
  | "timeout"
  /** No microphone, or none that may be used. */
  | "device"
  /** The server said what is not of this protocol. */
  | "protocol"
  /** Misuse of this library. */
  | "usage";

export class ClientError extends Error {
  override readonly name = "ClientError";
  readonly reason: ClientErrorReason;
  /** Entry of the server's catalogue of errors, e.g. `token_expired`; "" where it said nothing. */
  readonly serverReason: string;
  /** What to do. */
  readonly remedy: string;

  constructor(reason: ClientErrorReason, message: string, remedy: string, serverReason = "") {
    super(`${message}. ${remedy}`);
    this.reason = reason;
    this.serverReason = serverReason;
    this.remedy = remedy;
  }
}
