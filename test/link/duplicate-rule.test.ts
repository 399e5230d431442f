import fc from 'fast-check'
import t from 'tap'
import { decideDuplicate, isPreferred } from '../../src/link/duplicate-rule.js'

t.test('of two links in different directions both sides keep the same one', async () => {
  fc.assert(
    fc.property(
      fc.string({ minLength: 1 }),
      fc.string({ minLength: 1 }),
      fc.boolean(),
      (a, b, oldInitiatedByA) => {
        fc.pre(a !== b)
        // The old link was initiated by one, the newcomer by the other; each side sees the mirror image.
        const atA = decideDuplicate(
          { initiatedHere: oldInitiatedByA, instanceId: 'b' },
          { initiatedHere: !oldInitiatedByA, instanceId: 'b' },
          a,
          b,
        )
        const atB = decideDuplicate(
          { initiatedHere: !oldInitiatedByA, instanceId: 'a' },
          { initiatedHere: oldInitiatedByA, instanceId: 'a' },
          b,
          a,
        )
        if ((atA === 'replace') !== (atB === 'replace')) throw new Error(`${atA} and ${atB}`)
        if ((atA === 'replace') !== (!oldInitiatedByA === a < b)) throw new Error('not the smaller id')
        // The preferred one is so on both sides.
        if (
          isPreferred({ initiatedHere: true, instanceId: '' }, a, b) ===
          isPreferred({ initiatedHere: true, instanceId: '' }, b, a)
        ) {
          throw new Error('preference')
        }
      },
    ),
  )
})

t.test('of two in the same direction exactly one is completed', async (t) => {
  const same = (initiatedHere: boolean) => ({ initiatedHere, instanceId: 'x' })
  t.equal(decideDuplicate(same(true), same(true), 'a', 'b'), 'keep', 'the initiator keeps the one it has')
  t.equal(
    decideDuplicate(same(false), same(false), 'a', 'b'),
    'replace',
    'the acceptor believes the initiator',
  )
})

t.test('another process under the same name is never believed without asking the old one', async (t) => {
  for (const initiatedHere of [true, false]) {
    for (const oldInitiatedHere of [true, false]) {
      const decision = decideDuplicate(
        { initiatedHere: oldInitiatedHere, instanceId: 'old' },
        { initiatedHere, instanceId: 'new' },
        'a',
        'b',
      )
      t.equal(decision, 'keep-if-alive')
    }
  }
})
