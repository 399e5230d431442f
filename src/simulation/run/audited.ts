import type { MeshAudit, ServerAudit } from '../../node/mesh-audit.js'
import { type Run, textOf } from './run.js'

/** A try that is not complete, since a link has yet to be found dead or made anew, is repeated, as a person would. */
const TRY_MS = 15_000
const MAX_TRIES = 4

/** Lets a server of the healed mesh audit all of it, over the links: it must be balanced (A1). */
export async function audited(
  run: Run,
  pass: (ms: number, done: () => boolean) => Promise<void>,
): Promise<void> {
  const { servers, kernel } = run.cluster
  const auditor = kernel.random.fork('audit').pick(servers)
  const found: MeshAudit[] = []
  const last = () => found.at(-1)
  for (let tries = 0; tries < MAX_TRIES && !run.over && last()?.outcome !== 'balanced'; tries++) {
    run.cluster.within(auditor, (node) => {
      node.auditMesh({ timeoutMs: TRY_MS }).then(
        (audit) => found.push(audit),
        (error: unknown) => run.fail('A1', `${auditor.name} cannot audit: ${textOf(error)}`, auditor.number),
      )
    })
    await pass(2 * TRY_MS, () => found.length > tries)
    if (found.length === tries) run.fail('A1', `the audit by ${auditor.name} does not end`, auditor.number)
    else if (last()?.outcome === 'mismatch') break
  }
  const audit = last()
  const fault = audit && faultIn(run, audit)
  if (fault) run.fail('A1', `the audit by ${auditor.name} ends ${audit.outcome}: ${fault}`, auditor.number)
}

function faultIn(run: Run, { outcome, servers }: MeshAudit): string | undefined {
  if (outcome === 'balanced') return undefined
  // A server that lost its disk may have been the only one to know of a deposit or a grant that others built on.
  const hasForgotten = run.cluster.servers.some(({ number }) => run.ledger.hasForgotten(number))
  const isForgiven = hasForgotten && servers.every(isSoundButOverdrawn)
  return isForgiven ? undefined : servers.map(describe).join('; ')
}

function isSoundButOverdrawn({ state, books }: ServerAudit): boolean {
  const isSound = books && books.wrongCount === 0 && books.altered.length === 0
  return isSound === true && (state === 'self' || state === 'equal')
}

function describe({ serverId, state, differences, undecided, books }: ServerAudit): string {
  const sums = books && {
    wrong: books.wrong.map(({ storage, item, quantity }) => `${storage} ${item} ${quantity}`),
    overdrawn: books.overdrawn.map(({ storage, item, quantity }) => `${storage} ${item} ${quantity}`),
    altered: books.altered,
  }
  return `${serverId} ${state} ${JSON.stringify({ differences, undecided, sums })}`
}
