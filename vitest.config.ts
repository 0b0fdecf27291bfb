import { defineConfig } from "vitest/config";

/** A long run of the fuzz tests, e.g. `FUZZ_RUNS=1000000 npx vitest run libs/wire/src/fuzz.test.ts`. */
const fuzzing = process.env.FUZZ_RUNS !== undefined;

export default defineConfig({
  test: {
    include: ["libs/**/*.test.ts", "services/**/*.test.ts", "cli/**/*.test.ts", "test/**/*.test.ts"],
    exclude: ["**/node_modules/**"],
    testTimeout: fuzzing ? 12 * 3_600_000 : 60_000,
    hookTimeout: 60_000,
  },
});
