import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/** A file system of so many mebibytes, or undefined where mounting is not allowed. */
export function mountSmallDisk(t: Test, mebibytes: number): string | undefined {
  if (process.platform !== 'linux') return undefined
  // Not below `t.testdir`, which is removed before this teardown has unmounted it.
  const directory = fs.mkdtempSync(join(tmpdir(), 'silo-mesh-'))
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', directory])
  t.teardown(() => {
    if (mounted.status === 0) spawnSync('umount', ['--lazy', directory])
    fs.rmdirSync(directory)
  })
  return mounted.status === 0 ? directory : undefined
}
