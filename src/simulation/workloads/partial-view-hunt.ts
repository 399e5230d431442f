import type { MeshNode } from '../../node/mesh-node.js'
import type { Server } from '../cluster/server.js'
import type { SeededRandom } from '../kernel/random.js'
import type { Run } from '../run/run.js'
import { cutBetween } from './cut-between.js'
import { ask, type Kind, type Wish, wishOf, withdrawals } from './withdrawals.js'
import type { Workload } from './workload.js'

const MEAN_PAUSE_MS = 1_500
/** After a deposit, until it has been seen; with network and disk as these runs have them. */
const SEEN_MS = 150
const MOST_FIRST = 4
const MOST_LATER = 9

/**
 * The workload of withdrawals, and beside it servers with a partial view, again and again on an item of its own. One
 * server takes all that another one has deposited while it cannot ask it for the rights: its withdrawal is
 * provisional. Then the depositor deposits more and a third server, which sees both, spends it: the first one sees
 * the spending before the deposit and the grant behind it, and must not take that for an overdraw.
 */
export const partialViewHunt: Workload = {
  ...withdrawals,
  name: 'partial-view-hunt',
  begin(run) {
    withdrawals.begin(run)
    const random = run.cluster.kernel.random.fork('partial-view-hunt')
    const { safetyMs } = run.options
    let number = 0
    for (let atMs = 1_500; atMs < safetyMs; atMs += random.integer(MEAN_PAUSE_MS / 2, 2 * MEAN_PAUSE_MS)) {
      const draw = random.fork(number)
      const item = `sim:hunted_${number++}`
      run.cluster.after(atMs, () => hunt(run, item, draw))
    }
    run.plannedEvents += number
  },
}

function hunt(run: Run, item: string, draw: SeededRandom): void {
  const [blind, depositor, spender] = draw.shuffle(run.cluster.servers) as Server<MeshNode>[]
  if (blind === undefined || depositor === undefined || spender === undefined) return
  const few = draw.integer(1, MOST_FIRST)
  const more = draw.integer(2, MOST_LATER)
  // A donor gives away half of what it has.
  const spent = draw.integer(1, Math.floor(more / 2))
  const wish = (server: Server<MeshNode>, kind: Kind, amount: number) =>
    ask(run, wishFor(run, { server, kind, item, amount: BigInt(amount), draw }))
  // Counted from the second deposit.
  const forMs = draw.integer(200, 2_000)
  wish(depositor, 'deposit', few)
  run.cluster.after(SEEN_MS, () => {
    const heal = cutBetween(run, [blind], [depositor])
    wish(blind, 'optimistic', few)
    run.cluster.after(SEEN_MS + forMs, heal)
  })
  run.cluster.after(2 * SEEN_MS, () => wish(depositor, 'deposit', more))
  run.cluster.after(2 * SEEN_MS + draw.integer(5, 50), () => wish(spender, 'backed', spent))
}

function wishFor(run: Run, asked: Pick<Wish, 'server' | 'kind' | 'item' | 'amount' | 'draw'>): Wish {
  const place = run.places.find(({ world }) => world === undefined)!
  return wishOf(run, { ...asked, place, target: place, operationId: undefined, by: `hunt-${run.named.size}` })
}
