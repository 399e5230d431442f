import { FORGOTTEN_AFTER_MS } from '../../conflict/demand.js'
import type { MeshNode } from '../../node/mesh-node.js'
import type { Server } from '../cluster/server.js'
import type { SeededRandom } from '../kernel/random.js'
import { type Run, textOf } from '../run/run.js'
import { hasCode } from './counters.js'
import type { Workload } from './workload.js'

const ORE = ['sim:iron_ore', 'sim:gold_ore', 'sim:coal_ore']
/** No transfer takes it. */
const WASTE = 'sim:gravel'
/** By storage: where its items go, and which. The last two are a ring. */
const LINES = [
  { from: 'mine', to: 'depot', items: ['sim:*_ore'] },
  { from: 'depot', to: 'vault', items: ['sim:iron_ore', 'sim:gold_ore'] },
  { from: 'left', to: 'right', items: ['*'] },
  { from: 'right', to: 'left', items: ['*'] },
] as const
const RING = [2, 3]
const STORAGES = ['mine', 'depot', 'vault', 'left', 'right'] as const
const MAX_OPERATIONS_PER_SECOND = 20
/** Now and then comes so many times as much at once: after a rest, what a transfer may move at once shows (T2). */
const HAUL_SHARE = 0.05
const HAUL = 32n
const TIMEOUT_MS = 4_000
const RETRY_MS = 200
const FINAL_RATE = 100_000
/**
 * In a healed mesh all is moved within this time, the rights to it borrowed included: a server that withdrew, or ran
 * the transfer, in the last 30 s keeps a reserve; who was refused one asks again within 5 s, and gets half each time.
 */
const DRAINED_WITHIN_MS = 60_000
const LOOK_MS = 200
/** An operation that a node may answer with these has not happened. */
const REFUSALS = new Set(['NOT_RUNNING', 'DISK_FULL', 'JOURNAL_FAILED', 'OVERLOADED'])
const STRONG_REFUSALS = new Set([
  'NO_QUORUM',
  'OVERLOADED',
  'NOT_RUNNING',
  'OUTCOME_UNKNOWN',
  'ABORTED',
  'NOT_FOUND',
  'CONFLICT',
])

/** Items are put in and taken out on all servers, while transfers move them on. */
export const transfers: Workload = {
  name: 'transfers',
  finishMs: DRAINED_WITHIN_MS + 5_000,
  begin(run) {
    const random = run.cluster.kernel.random.fork('workload-transfers')
    for (const storage of STORAGES) run.transfers.storages.add(storage)
    const rates = LINES.map((_, line) => random.fork(`rate ${line}`).pick([5, 100, 10_000]))
    for (const [line, rate] of rates.entries()) run.transfers.rates.set(idOf(line), rate)
    build(run)
    const { operationsPerSecond, safetyMs } = run.options
    const count = Math.ceil((Math.min(operationsPerSecond, MAX_OPERATIONS_PER_SECOND) * safetyMs) / 1000)
    for (let number = 0; number < count; number++) {
      const draw = random.fork(number)
      run.cluster.after(draw.uniform() * safetyMs, () => operate(run, draw))
    }
    run.plannedEvents += count
  },
  /** All that is to be moved arrives, wherever the rights to it were (T3). */
  finish(run) {
    for (const [line] of LINES.entries()) run.transfers.rates.set(idOf(line), FINAL_RATE)
    build(run)
    comeAbout(run, 'T3', 'not moved', whatIsLeft)
  },
  /**
   * The ring stands still, and then no rights move for a reserve any more: what is checked at last is checked at rest.
   * Voters go on telling of the leases that are renewed in their logs, so no two servers need be equal at one moment.
   */
  rest(run) {
    const stop = RING.map((line) => (node: MeshNode) => {
      return node.transfers.update(idOf(line), { enabled: false }, { timeoutMs: TIMEOUT_MS })
    })
    let isTold = false
    inTurn(run, stop, () => {
      isTold = true
    })
    let movedUs = run.nowUs
    comeAbout(run, 'C2', 'not at rest', () => {
      const reason = isTold ? whatMoves(run) : 'the ring is to be stopped yet'
      if (reason !== undefined) movedUs = run.nowUs
      return run.nowUs - movedUs < FORGOTTEN_AFTER_MS * 1_000 ? (reason ?? 'reserves move') : undefined
    })
  },
}

/** Waits until nothing is in the way any more, for as long as that may take. */
function comeAbout(
  run: Run,
  invariant: string,
  what: string,
  whyNot: (run: Run) => string | undefined,
): void {
  const untilUs = run.nowUs + DRAINED_WITHIN_MS * 1_000
  const done = new Promise<void>((resolve) => {
    const look = () => {
      const reason = whyNot(run)
      if (reason !== undefined && run.nowUs > untilUs)
        run.fail(invariant, `${what} within ${DRAINED_WITHIN_MS} ms: ${reason}`, undefined)
      if (reason === undefined || run.over) resolve()
      else run.cluster.after(LOOK_MS, look)
    }
    look()
  })
  run.ask(run.cluster.servers[0]!, what, done, () => undefined)
}

function idOf(line: number): string {
  return `01a209f4-dc5d-754e-985f-00000000000${line}`
}

function anchorOf(storage: (typeof STORAGES)[number]): string {
  return `01a209f4-dc5d-754e-985f-10000000000${STORAGES.indexOf(storage)}`
}

/** Makes anchors and transfers, one after the other, until all are there; or brings them to another rate. */
function build(run: Run): void {
  const anchors = STORAGES.map((storage, x) => (node: MeshNode) => {
    const position = { x, y: 64, z: 0 }
    const anchor = { id: anchorOf(storage), storage, world: 'overworld', position }
    return node.anchors.create(anchor, { timeoutMs: TIMEOUT_MS })
  })
  const lines = LINES.map(({ from, to, items }, line) => async (node: MeshNode) => {
    const id = idOf(line)
    // An earlier round may still be under way: all bring it to what is wanted now.
    const rate = run.transfers.rates.get(id)!
    if ((await node.transfers.get(id)) !== undefined)
      return node.transfers.update(id, { rate }, { timeoutMs: TIMEOUT_MS })
    const transfer = { id, from: anchorOf(from), to: anchorOf(to), items, rate }
    return node.transfers.create(transfer, { timeoutMs: TIMEOUT_MS })
  })
  inTurn(run, [...anchors, ...lines])
}

/** Makes each step on one server after another until one has answered, then the next step. */
function inTurn(
  run: Run,
  steps: readonly ((node: MeshNode) => Promise<unknown>)[],
  done: () => void = () => undefined,
): void {
  const next = (step: number, turn: number) => {
    const make = steps[step]
    if (make === undefined) done()
    if (make === undefined || run.over) return
    const server = run.cluster.servers[turn % run.cluster.servers.length]!
    let open = true
    const go = (toStep: number) => {
      if (open) run.cluster.after(RETRY_MS, () => next(toStep, turn + 1))
      open = false
    }
    run.cluster.within(server, (node) => {
      run.ask(server, `step ${step} of the transfers`, make(node), (error) => {
        if (error !== undefined && !hasCode(error, STRONG_REFUSALS))
          run.fail('O2', `step ${step} of the transfers: ${textOf(error)}`, server.number)
        if (error === undefined) run.strong.answered()
        go(error === undefined ? step + 1 : step)
      })
    })
    // The server may be down, or its process end before it answers.
    run.cluster.after(2 * TIMEOUT_MS, () => go(step))
  }
  next(0, 0)
}

function operate(run: Run, draw: SeededRandom): void {
  const server = draw.pick(run.cluster.servers)
  run.cluster.within(server, (node) => {
    const storage = draw.pick(['mine', 'mine', 'mine', 'depot', 'left'])
    const item = draw.chance(0.1) ? WASTE : draw.pick(ORE)
    const amount = BigInt(draw.integer(1, 64))
    if (draw.chance(HAUL_SHARE)) change(run, server, node, { storage, item, amount: amount * HAUL })
    else if (draw.chance(0.75)) change(run, server, node, { storage, item, amount })
    else change(run, server, node, { storage: draw.pick(STORAGES), item, amount: -amount })
  })
}

function change(
  run: Run,
  server: Server<MeshNode>,
  node: MeshNode,
  { storage, item, amount }: { storage: string; item: string; amount: bigint },
): void {
  const place = node.storage(storage)
  const name = `${amount} ${item} in ${storage}`
  let receipt: ReturnType<typeof place.deposit> | undefined
  try {
    receipt = amount > 0n ? place.deposit(item, amount) : place.tryWithdraw(item, -amount)
  } catch (error) {
    if (!hasCode(error, REFUSALS)) run.fail('O2', `${name}: ${textOf(error)}`, server.number)
    return
  }
  if (receipt === undefined) return
  const entry = run.transfers.record(item, amount)
  run.cluster.recorder?.mark({ kind: 'operation', server: server.number, atUs: run.nowUs, label: name })
  run.ask(server, `${name}: durable`, receipt.durable, (error) => {
    if (error === undefined) entry.durable = true
    else if (!hasCode(error, REFUSALS)) run.fail('O2', `${name}: ${textOf(error)}`, server.number)
  })
}

/** Undefined when no server runs a transfer of the ring. */
function whatMoves(run: Run): string | undefined {
  const ring = RING.map(idOf)
  for (const { name, node } of run.cluster.servers) {
    for (const { state, transferId } of node?.transferProgress() ?? []) {
      if (ring.includes(transferId) && state !== 'disabled')
        return `${name} runs ${transferId.slice(-1)}: ${state}`
    }
  }
  return undefined
}

/** Undefined when no transfer that ends somewhere has anything left. */
function whatIsLeft(run: Run): string | undefined {
  for (const { name, node } of run.cluster.servers) {
    if (node === undefined) continue
    for (const item of ORE) {
      for (const storage of item === 'sim:coal_ore' ? ['mine'] : ['mine', 'depot']) {
        const left = node.storage(storage).quantity(item)
        if (left === 0n) continue
        const runs = run.cluster.servers.flatMap((server) =>
          (server.node?.transferProgress() ?? []).map(
            ({ state, transferId }) => `${server.name} runs ${transferId.slice(-1)}: ${state}`,
          ),
        )
        return `${name} shows ${left} ${item} in ${storage}; ${runs.join(', ')}`
      }
    }
  }
  return undefined
}
