import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { createServer, type Server } from 'node:net'
import { hostname } from 'node:os'
import { DirectoryInUseError } from '../sync/errors.js'
import { toDiskError } from './disk-errors.js'
import type { DiskLock } from './environment.js'

/** Holds the lock file's name; its content is for people. */
const LOCK_FILE = 'lock'
const FLOCK_PROGRAMS = ['/usr/bin/flock', '/bin/flock'] as const
/** open(2) of macOS and the BSDs: take an exclusive lock with the descriptor. Not in fs.constants. */
const O_EXLOCK = 0x20
const NAMES_A_PIPE = process.platform === 'linux' || process.platform === 'win32'

/**
 * Exclusive hold on a directory that ends with the process, however that ends: the kernel drops it, so
 * there is no stale lock to clean up after a crash.
 *
 * Linux: a socket in the abstract namespace, and, because containers that share a volume have a namespace
 * each, flock(2) on the lock file as well where the flock program exists (Node has no call for it; the
 * program locks our descriptor, and the lock stays with it). Windows: a named pipe. macOS and BSD: O_EXLOCK.
 * @throws DirectoryInUseError naming the holder, DiskError
 */
export async function acquireDirectoryLock(directory: string): Promise<DiskLock> {
  const lockFile = `${directory}/${LOCK_FILE}`
  const server = NAMES_A_PIPE ? await listen(await pipeName(directory)) : undefined
  if (server === 'taken') throw inUse(directory, lockFile)
  let descriptor: number | undefined
  try {
    descriptor = openLockFile(directory, lockFile)
    if (process.platform === 'linux' && !(await lockDescriptor(descriptor))) throw inUse(directory, lockFile)
    // For people. The lock itself is the kernel's, so an old text left by a killed process means nothing.
    fs.ftruncateSync(descriptor)
    fs.writeSync(descriptor, `process ${process.pid} on host ${hostname()}\n`, 0)
    return new HeldLock(server, descriptor)
  } catch (error) {
    if (descriptor !== undefined) fs.closeSync(descriptor)
    await closeServer(server)
    throw error instanceof DirectoryInUseError ? error : toDiskError('lock', directory, error)
  }
}

class HeldLock implements DiskLock {
  #server: Server | undefined
  #descriptor: number | undefined

  constructor(server: Server | undefined, descriptor: number) {
    this.#server = server
    this.#descriptor = descriptor
  }

  async release(): Promise<void> {
    const descriptor = this.#descriptor
    const server = this.#server
    this.#descriptor = undefined
    this.#server = undefined
    if (descriptor !== undefined) {
      forgetHolder(descriptor)
      fs.closeSync(descriptor)
    }
    await closeServer(server)
  }
}

/** While the lock is still held, so that the next holder's name is not wiped. */
function forgetHolder(descriptor: number): void {
  try {
    fs.ftruncateSync(descriptor)
  } catch {
    // A full or failed disk; the text is only for people.
  }
}

/** The same for every path that leads to the directory, also through links and bind mounts. */
async function pipeName(directory: string): Promise<string> {
  let identity: string
  try {
    const { dev, ino } = await fs.promises.stat(directory, { bigint: true })
    identity = process.platform === 'linux' ? `${dev}:${ino}` : await fs.promises.realpath(directory)
  } catch (error) {
    throw toDiskError('lock', directory, error)
  }
  const hash = createHash('sha256').update(identity).digest('hex').slice(0, 32)
  return process.platform === 'win32' ? `\\\\.\\pipe\\silo-mesh-${hash}` : `\0silo-mesh-${hash}`
}

function listen(name: string): Promise<Server | 'taken'> {
  return new Promise((resolve, reject) => {
    // Nobody has any business on it.
    const server = createServer((socket) => socket.destroy())
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE' || (process.platform === 'win32' && error.code === 'EACCES')
      if (taken) resolve('taken')
      else reject(toDiskError('lock', 'data directory', error))
    })
    server.listen({ path: name, exclusive: true }, () => {
      // An error after listening (out of descriptors on accept) does not loosen the hold.
      server.on('error', () => {})
      server.unref()
      resolve(server)
    })
  })
}

function openLockFile(directory: string, lockFile: string): number {
  const { O_RDWR, O_CREAT, O_NONBLOCK } = fs.constants
  const flags = NAMES_A_PIPE ? O_RDWR | O_CREAT : O_RDWR | O_CREAT | O_NONBLOCK | O_EXLOCK
  try {
    return fs.openSync(lockFile, flags, 0o600)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (!NAMES_A_PIPE && (code === 'EAGAIN' || code === 'EWOULDBLOCK')) throw inUse(directory, lockFile)
    throw error
  }
}

/** False when another process has the file locked. True as well where there is no program to ask with. */
async function lockDescriptor(descriptor: number): Promise<boolean> {
  const program = FLOCK_PROGRAMS.find((path) => fs.existsSync(path))
  if (program === undefined) return true
  return new Promise((resolve) => {
    const child = spawn(program, ['-n', '-x', '3'], {
      stdio: ['ignore', 'ignore', 'pipe', descriptor],
      env: {},
    })
    let complaint = ''
    child.stderr?.on('data', (text: Uint8Array) => {
      complaint += String(text)
    })
    child.once('error', () => resolve(true))
    // A complaint means that the file system has no locks, not that somebody holds this one.
    child.once('close', (code) => resolve(!(code === 1 && complaint === '')))
  })
}

function inUse(directory: string, lockFile: string): DirectoryInUseError {
  let holder = 'another process'
  try {
    holder = fs.readFileSync(lockFile, 'utf8').slice(0, 200).trim() || holder
  } catch {
    // The text is a courtesy; without it the message says less.
  }
  return new DirectoryInUseError(`${directory} is in use by ${holder}`)
}

async function closeServer(server: Server | undefined): Promise<void> {
  if (server === undefined) return
  await new Promise<void>((resolve) => server.close(() => resolve()))
}
