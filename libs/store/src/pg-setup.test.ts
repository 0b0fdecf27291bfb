import { lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { chooseAccount, mayPass, parsePasswd } from "./pg-account.ts";
import { findPackage, readyBinaries } from "./pg-binaries.ts";
import { classifyOutput, classifySpawn } from "./pg-failure.ts";

const home = mkdtempSync(join(tmpdir(), "rspp-setup-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
const here = process.getuid?.() ?? 0;

describe("the server's account", () => {
  const passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\nbroken line\n";
  const nowhere = join(home, "nowhere");

  test("root hands the server to an account that is there already, postgres before nobody", () => {
    expect(chooseAccount(nowhere, 0, 0, passwd)).toMatchObject({ uid: 65534, gid: 65533, switchTo: true });
    const more = `${passwd}postgres:x:101:104::/:/bin/false\n`;
    expect(chooseAccount(nowhere, 0, 0, more)).toMatchObject({ uid: 101, gid: 104, switchTo: true });
  });

  test("root without such an account is told what to do", () => {
    expect(() => chooseAccount(nowhere, 0, 0, "")).toThrow(expect.objectContaining({ code: "unsupported" }));
  });

  test("an ordinary user runs it as himself, and not in somebody else's directory", () => {
    expect(chooseAccount(nowhere, 1234, 5, passwd)).toMatchObject({ uid: 1234, gid: 5, switchTo: false });
    expect(() => chooseAccount(home, here + 1, 5, passwd)).toThrow(expect.objectContaining({ code: "permission" }));
  });

  test("passwd lines that are none are passed over", () => {
    expect(parsePasswd(passwd).map(({ name }) => name)).toEqual(["root", "nobody"]);
  });
});

describe("the server's files", () => {
  test("a machine without the package is told so", () => {
    expect(() => findPackage("linux", "sparc")).toThrow(expect.objectContaining({ code: "unsupported" }));
    expect(findPackage().major).toMatch(/^\d+$/);
  });

  test("files that the server's user cannot reach are copied, with the names its libraries are looked up by", async () => {
    const packageDir = join(home, "package");
    mkdirSync(join(packageDir, "native", "bin"), { recursive: true });
    mkdirSync(join(packageDir, "native", "lib"));
    const links = [{ source: "native/lib/libx.so.1.2", target: "native/lib/libx.so.1" }];
    writeFileSync(join(packageDir, "native", "pg-symlinks.json"), JSON.stringify(links));
    for (const file of ["bin/postgres", "bin/initdb", "lib/libx.so.1.2"]) {
      writeFileSync(join(packageDir, "native", file), "", { mode: 0o644 });
    }
    const root = join(home, "root");
    mkdirSync(root);
    const found = { nativeDir: join(packageDir, "native"), version: "18.0.0", major: "18" };
    const stranger = { uid: here + 1, gid: 1, switchTo: false, named: true };
    expect(mayPass(found.nativeDir, stranger)).toBe(false);
    await expect(readyBinaries(found, root, stranger)).rejects.toMatchObject({ code: "permission" });
    const self = { uid: here, gid: process.getgid?.() ?? 0, switchTo: false, named: true };
    const inPlace = await readyBinaries(found, root, self);
    expect(inPlace.nativeDir).toBe(found.nativeDir);
    expect(lstatSync(join(found.nativeDir, "lib", "libx.so.1")).isSymbolicLink()).toBe(true);
    expect(lstatSync(join(found.nativeDir, "bin", "postgres")).mode & 0o555).toBe(0o555);
  });
});

describe("what the server's last words mean", () => {
  test.each([
    ["storage_full", 'FATAL:  could not write to file "pg_wal/xlogtemp.9": No space left on device'],
    ["port_in_use", 'LOG:  could not bind IPv4 address "127.0.0.1": Address already in use'],
    ["unsupported", "postgres: error while loading shared libraries: libssl.so.1.1: cannot open shared object file"],
    ["unsupported", "/lib/libc.so.6: version `GLIBC_2.28' not found (required by postgres)"],
    ["in_use", 'FATAL:  lock file "postmaster.pid" already exists'],
    ["version_mismatch", "FATAL:  database files are incompatible with server"],
    ["unsupported", "initdb: could not look up effective user ID 12345: user does not exist"],
    ["permission", "initdb: error: could not access directory: Permission denied"],
    ["unavailable", "something nobody has seen before"],
  ])("%s: %s", (code, line) => {
    const error = classifyOutput("starting", `LOG:  hello\n${line}\nLOG:  bye`);
    expect(error.code).toBe(code);
    expect(error.remedy.length).toBeGreaterThan(20);
  });

  test("a binary that is there and cannot be started lacks its loader; root without the right to switch is told so", () => {
    expect(classifySpawn("/x/initdb", Object.assign(new Error("x"), { code: "ENOENT" })).code).toBe("unsupported");
    expect(classifySpawn("/x/initdb", Object.assign(new Error("x"), { code: "EPERM" })).code).toBe("permission");
  });
});
