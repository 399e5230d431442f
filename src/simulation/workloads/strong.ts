import { uuidV7 } from '../../environment/uuid.js'
import { SILENT_LINK_MS } from '../../link/open-link.js'
import type { MeshNode } from '../../node/mesh-node.js'
import type { Lock } from '../../strong/locks.js'
import type { Server } from '../cluster/server.js'
import { EventKind } from '../kernel/event-queue.js'
import type { SeededRandom } from '../kernel/random.js'
import { type Run, textOf } from '../run/run.js'
import { strongOf } from '../strong/access.js'
import { hasCode } from './counters.js'
import type { Workload } from './workload.js'

/** Certain: nothing has happened. */
const REFUSALS = new Set(['NO_QUORUM', 'OVERLOADED', 'NOT_RUNNING'])
/** It may have happened. */
const UNKNOWNS = new Set(['OUTCOME_UNKNOWN', 'ABORTED'])
/** Anchors and transfers: others were there first. */
const CONFLICTS = new Set(['CONFLICT', 'NOT_FOUND'])
const LOCK_REFUSALS = new Set([...REFUSALS, ...UNKNOWNS, 'LOCK_TIMEOUT', 'LOCK_LOST'])
const TIMEOUT_MS = 4_000
const LOCK_TIMEOUT_MS = 4_500
/** In a healed mesh: a link that fell silent without a word is noticed, and then comes an election. */
const FINAL_TIMEOUT_MS = SILENT_LINK_MS + 15_000
const REGISTERS = ['register-0', 'register-1', 'register-2']
const LOCKS = 2
const LOCK_STEP_MS = 150
/** More would make histories that no checker decides. */
const MAX_OPERATIONS_PER_SECOND = 20
const WORLD_SIZE = 6
/** Anchors among which transfers are made. */
const RECENT = 8

type Asked = { readonly run: Run; readonly server: Server<MeshNode>; readonly node: MeshNode }

/** Reads, writes, anchors, transfers and locks through the strong group, from every server. */
export const strong: Workload = {
  name: 'strong',
  begin(run) {
    const random = run.cluster.kernel.random.fork('workload-strong')
    const { operationsPerSecond, safetyMs } = run.options
    const count = Math.ceil((Math.min(operationsPerSecond, MAX_OPERATIONS_PER_SECOND) * safetyMs) / 1000)
    for (let number = 0; number < count; number++) {
      const draw = random.fork(number)
      const server = draw.pick(run.cluster.servers)
      run.cluster.after(draw.uniform() * safetyMs, () => {
        run.cluster.within(server, (node) => operate({ run, server, node }, `v${number}`, draw))
      })
    }
    run.plannedEvents += count
  },
  /** Every server of a healed mesh takes a write, and then shows all that was acknowledged (C3). */
  finish(run) {
    let open = run.cluster.servers.length
    for (const server of run.cluster.servers) {
      run.cluster.within(server, (node) => {
        append({ run, server, node }, `final-${server.name}`, FINAL_TIMEOUT_MS, (error) => {
          mustSucceed(run, server, 'write')(error)
          if (--open === 0) readAll(run)
        })
      })
    }
  },
}

function readAll(run: Run): void {
  for (const server of run.cluster.servers) {
    run.cluster.within(server, (node) => {
      for (const key of REGISTERS) {
        read({ run, server, node }, key, FINAL_TIMEOUT_MS, mustSucceed(run, server, 'read'))
      }
    })
  }
}

function mustSucceed(run: Run, server: Server<MeshNode>, what: string): (error: unknown) => void {
  return (error) => {
    if (error !== undefined)
      run.fail('C3', `${what} on healed ${server.name}: ${textOf(error)}`, server.number)
  }
}

function operate(asked: Asked, value: string, draw: SeededRandom): void {
  const key = draw.pick(REGISTERS)
  const kind = draw.uniform()
  if (kind < 0.2) write(asked, key, value)
  else if (kind < 0.35) compareAndSet(asked, key, value)
  else if (kind < 0.57) read(asked, key)
  else if (kind < 0.65) append(asked, value)
  else if (kind < 0.73) createAnchor(asked, draw)
  else if (kind < 0.8) changeAnchor(asked, draw)
  else if (kind < 0.87) createTransfer(asked, draw)
  else if (kind < 0.93) changeTransfer(asked, draw)
  else lock(asked, `lock-${draw.integer(0, LOCKS - 1)}`, draw.integer(0, 6))
}

/** Tells refusals, which have not happened, from unknown outcomes, which may have; anything else is a defect. */
function sort(
  { run, server }: Asked,
  what: string,
  error: unknown,
  refused: () => void,
  also: ReadonlySet<string> = NONE,
): void {
  if (hasCode(error, REFUSALS) || hasCode(error, also)) refused()
  else if (!hasCode(error, UNKNOWNS)) run.fail('O2', `${what}: ${textOf(error)}`, server.number)
}

const NONE: ReadonlySet<string> = new Set()

function write(asked: Asked, key: string, value: string): void {
  const { run, server, node } = asked
  const operation = run.strong.begin(key, server.number, { kind: 'write', value })
  const success = [{ kind: 'put', key, value: bytesOf(value), lease: 0 } as const]
  const promise = strongOf(node).transact({ success }, { timeoutMs: TIMEOUT_MS })
  run.ask(server, `put ${key} ${value}`, promise, (error) => {
    if (error !== undefined) {
      sort(asked, 'put', error, operation.refused)
      return
    }
    run.strong.answered()
    operation.returned()
  })
}

/** Replaces what is seen here, which may be old. */
function compareAndSet(asked: Asked, key: string, value: string): void {
  const { run, server, node } = asked
  const store = strongOf(node)
  const seen = store.get(key)
  const expected = seen && textFrom(seen.value)
  const operation = { kind: 'compare-and-set', expected, value } as const
  const open = run.strong.begin(key, server.number, { ...operation, succeeded: undefined })
  const comparison = seen
    ? ({ key, target: 'value', operator: '=', operand: seen.value } as const)
    : ({ key, target: 'exists', exists: false } as const)
  const promise = store
    .transact(
      { comparisons: [comparison], success: [{ kind: 'put', key, value: bytesOf(value), lease: 0 }] },
      { timeoutMs: TIMEOUT_MS },
    )
    .then(({ succeeded }) => {
      run.strong.answered()
      open.returned({ ...operation, succeeded })
    })
  run.ask(server, `replace ${key} ${expected} by ${value}`, promise, (error) => {
    if (error !== undefined) sort(asked, 'compare and set', error, open.refused)
  })
}

function read(asked: Asked, key: string, timeoutMs = TIMEOUT_MS, done?: (error: unknown) => void): void {
  const { run, server, node } = asked
  const store = strongOf(node)
  const open = run.strong.begin(key, server.number, { kind: 'read', value: undefined })
  const promise = store.barrier({ timeoutMs }).then(() => {
    const found = store.get(key)
    open.returned({ kind: 'read', value: found && textFrom(found.value) })
  })
  run.ask(server, `read ${key}`, promise, (error) => {
    done?.(error)
    if (error !== undefined) sort(asked, 'read', error, open.refused)
  })
}

/** A key of its own, which must stay. */
function append(asked: Asked, value: string, timeoutMs = TIMEOUT_MS, done?: (error: unknown) => void): void {
  const { run, server, node } = asked
  const key = `log/${value}`
  const success = [{ kind: 'put', key, value: bytesOf(value), lease: 0 } as const]
  run.ask(server, `append ${value}`, strongOf(node).transact({ success }, { timeoutMs }), (error) => {
    done?.(error)
    if (error !== undefined) {
      sort(asked, 'append', error, () => undefined)
      return
    }
    run.strong.answered()
    run.strong.acknowledged.push({ key, value, server: server.number, atUs: run.nowUs })
  })
}

function createAnchor(asked: Asked, draw: SeededRandom): void {
  const { run, server, node } = asked
  const id = entityId(run, draw)
  const created = { id, server: server.number, calledUs: run.nowUs, acknowledged: false, mayBeDeleted: false }
  run.strong.anchors.set(id, created)
  const position = { x: draw.integer(0, WORLD_SIZE), y: draw.integer(0, WORLD_SIZE), z: 0 }
  const anchor = { id, storage: 'vault', world: 'overworld', position }
  askFor(asked, `create anchor ${id}`, node.anchors.create(anchor, { timeoutMs: TIMEOUT_MS }), () => {
    created.acknowledged = true
  })
}

/** Something that others may have made impossible meanwhile. */
function askFor(asked: Asked, what: string, promise: Promise<unknown>, done: () => void): void {
  asked.run.ask(asked.server, what, promise, (error) => {
    if (error !== undefined) {
      sort(asked, what, error, () => undefined, CONFLICTS)
      return
    }
    asked.run.strong.answered()
    done()
  })
}

function entityId(run: Run, draw: SeededRandom): string {
  return uuidV7({
    clock: { wallMs: () => 1_700_000_000_000 + run.nowUs / 1000, monotonicMs: () => 0 },
    random: { bytes: (length) => draw.bytes(length), uniform: () => draw.uniform() },
  })
}

function changeAnchor(asked: Asked, draw: SeededRandom): void {
  const { run, node } = asked
  const known = [...run.strong.anchors.values()]
  if (known.length === 0) return
  const anchor = draw.pick(known)
  const options = { timeoutMs: TIMEOUT_MS }
  let promise: Promise<unknown>
  if (draw.chance(0.5)) {
    anchor.mayBeDeleted = true
    promise = node.anchors.delete(anchor.id, { ...options, cascade: draw.chance(0.5) })
  } else promise = node.anchors.update(anchor.id, { metadata: { turn: String(run.nowUs) } }, options)
  askFor(asked, `change anchor ${anchor.id}`, promise, () => undefined)
}

function createTransfer(asked: Asked, draw: SeededRandom): void {
  const { run, server, node } = asked
  // Of the latest ones, which are the likeliest to be there.
  const known = [...run.strong.anchors.keys()].slice(-RECENT)
  if (known.length < 2) return
  const [from, to] = draw.shuffle(known) as [string, string]
  const id = entityId(run, draw)
  const created = { id, from, to, server: server.number, calledUs: run.nowUs }
  const transfer = { ...created, acknowledged: false, mayBeDeleted: false }
  run.strong.transfers.set(id, transfer)
  const promise = node.transfers.create({ id, from, to, items: ['minecraft:*'] }, { timeoutMs: TIMEOUT_MS })
  askFor(asked, `create transfer ${id}`, promise, () => {
    transfer.acknowledged = true
  })
}

function changeTransfer(asked: Asked, draw: SeededRandom): void {
  const { run, node } = asked
  const known = [...run.strong.transfers.values()]
  if (known.length === 0) return
  const transfer = draw.pick(known)
  const options = { timeoutMs: TIMEOUT_MS }
  let promise: Promise<unknown>
  if (draw.chance(0.4)) {
    transfer.mayBeDeleted = true
    promise = node.transfers.delete(transfer.id, options)
  } else promise = node.transfers.update(transfer.id, { rate: draw.integer(1, 100) }, options)
  askFor(asked, `change transfer ${transfer.id}`, promise, () => undefined)
}

/** Holds the lock for some steps; what the resource behind it sees goes into the history. */
function lock(asked: Asked, key: string, steps: number): void {
  const { run, server, node } = asked
  const holder = ++run.strong.attempts
  const requestedUs = run.nowUs
  const { process } = server.machine
  const act = (kind: 'granted' | 'step' | 'ended', { fencingToken: token, signal }: Lock) => {
    const { aborted } = signal
    const at = { holder, server: server.number, requestedUs, atUs: run.nowUs }
    run.strong.lockSteps.push({ kind, key, token, aborted, ...at })
  }
  const operation = async (held: Lock) => {
    act('granted', held)
    for (let step = 0; step < steps && !held.signal.aborted; step++) {
      await new Promise<void>((resolve) => {
        process?.schedule(LOCK_STEP_MS * 1000, EventKind.harness, resolve)
      })
      act('step', held)
    }
    act('ended', held)
  }
  const promise = node.executeAtomic(key, operation, { timeoutMs: LOCK_TIMEOUT_MS })
  run.ask(server, `lock ${key}`, promise, (error) => {
    if (error !== undefined && !hasCode(error, LOCK_REFUSALS))
      run.fail('O2', `lock ${key}: ${textOf(error)}`, server.number)
  })
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function textFrom(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}
