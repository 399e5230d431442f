import type { MeshNode } from '../../node/mesh-node.js'
import type { Receipt } from '../../node/receipt.js'
import { Withdrawal } from '../../node/withdrawal.js'
import type { Server } from '../cluster/server.js'
import type { SeededRandom } from '../kernel/random.js'
import type { LedgerEntry } from '../run/ledger.js'
import { type Run, textOf } from '../run/run.js'
import type { Workload } from './workload.js'

/** Errors that a node may answer an operation with; it then has not happened. */
const REFUSALS = new Set([
  'INSUFFICIENT_QUANTITY',
  'NOT_RUNNING',
  'DISK_FULL',
  'JOURNAL_FAILED',
  'OVERLOADED',
])
/** Errors that may come instead of an acknowledgement; the operation stands. */
const UNKNOWNS = new Set(['NOT_RUNNING', 'DISK_FULL', 'JOURNAL_FAILED', 'OVERLOADED', 'LEVEL_NOT_REACHED'])
/** All items that batches touch. */
const BATCH_KINDS = 1_000
const QUORUM_SHARE = 0.15
const HUGE_SHARE = 0.02
const HUGE = 2n ** 70n

/** Deposits and withdrawals from every server, on few or many items. `flood` is the same with more batches. */
export const counters: Workload = {
  name: 'counters',
  begin(run) {
    const random = run.cluster.kernel.random.fork('workload-counters')
    const { operationsPerSecond, safetyMs } = run.options
    const count = Math.ceil((operationsPerSecond * safetyMs) / 1000)
    for (let number = 0; number < count; number++) {
      const draw = random.fork(number)
      run.cluster.after(draw.uniform() * safetyMs, () => operate(run, draw))
    }
    run.plannedEvents += count
  },
}

function operate(run: Run, draw: SeededRandom): void {
  const server = draw.pick(run.cluster.servers)
  run.cluster.within(server, (node) => {
    const place = draw.pick(run.places)
    if (!run.hosts(server.number, place)) return
    if (draw.chance(run.options.batchShare)) {
      for (
        let kind = draw.integer(0, BATCH_KINDS - 1), done = 0;
        done < run.options.batchItems;
        done++, kind++
      ) {
        const item = `sim:batch_${kind % BATCH_KINDS}`
        perform(run, server, node, { kind: 'deposit', ...place, item, amount: 1n }, draw)
      }
      return
    }
    const deposits = draw.chance(run.options.depositShare)
    const amount = draw.chance(HUGE_SHARE) ? HUGE : BigInt(draw.integer(1, 64))
    const item = draw.pick(run.items)
    perform(run, server, node, { kind: deposits ? 'deposit' : 'withdraw', ...place, item, amount }, draw)
  })
}

function perform(
  run: Run,
  server: Server<MeshNode>,
  node: MeshNode,
  what: Pick<LedgerEntry, 'kind' | 'storage' | 'item' | 'amount'> & { readonly world: string | undefined },
  draw: SeededRandom,
): void {
  const storage = run.storage(node, what)
  const { kind, item, amount } = what
  const before = storage.quantity(item)
  let receipt: ReturnType<typeof storage.deposit>
  try {
    receipt = kind === 'deposit' ? storage.deposit(item, amount) : storage.withdrawNow(item, amount)
  } catch (error) {
    if (!hasCode(error, REFUSALS)) run.fail('O2', `${kind} refused: ${textOf(error)}`, server.number)
    return
  }
  const after = storage.quantity(item)
  const visible =
    kind === 'deposit'
      ? after - before <= amount && after >= before
      : before - after === amount || (isBacked(receipt) && after === 0n)
  if (!visible) run.fail('R1', `${kind} of ${amount} turned ${before} into ${after}`, server.number)

  const entry = run.ledger.record({ ...what, server: server.number, atUs: run.nowUs })
  const name = `${kind} ${amount} ${item} in ${what.storage}`
  if (receipt instanceof Withdrawal) run.withdrawals.made(entry, receipt)
  run.cluster.recorder?.mark({ kind: 'operation', server: server.number, atUs: run.nowUs, label: name })
  run.ask(server, `${name}: durable`, receipt.durable, (error) => {
    if (error === undefined) entry.durableUs = run.nowUs
    else if (!hasCode(error, UNKNOWNS)) run.fail('O2', `${name}: ${textOf(error)}`, server.number)
  })
  if (!draw.chance(QUORUM_SHARE)) return
  run.ask(server, `${name}: QUORUM`, receipt.reached('QUORUM', { timeoutMs: 3_000 }), (error) => {
    if (error === undefined) {
      // A world's writes concern those who host it.
      const holders = node
        .members()
        .filter(({ worlds }) => what.world === undefined || worlds.includes(what.world)).length
      const servers = Math.floor(holders / 2) + 1
      entry.quorum = { atUs: run.nowUs, servers }
      entry.durableUs ??= run.nowUs
    } else if (!hasCode(error, UNKNOWNS)) run.fail('O2', `${name}: ${textOf(error)}`, server.number)
  })
}

/** Rights may cover more than is visible while the news of a deposit or grant elsewhere is still under way. */
function isBacked(receipt: Receipt): boolean {
  return receipt instanceof Withdrawal && receipt.kind === 'backed'
}

export function hasCode(error: unknown, codes: ReadonlySet<string>): boolean {
  return codes.has(String((error as { code?: unknown } | undefined)?.code))
}

export const flood: Workload = { ...counters, name: 'flood' }
