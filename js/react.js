// pgbell/react: a hook for live queries.
import {useEffect, useState} from 'react'

const nothing = {rows: undefined, stale: ''}

/** useLive returns the rows of a live query, and renders again when they are others. */
export function useLive(bell, name, args) {
  const [state, setState] = useState(nothing)
  const asked = JSON.stringify([name, Object.entries(args ?? {}).map(([key, value]) => [key, String(value)])])
  useEffect(() => {
    const [name, args] = JSON.parse(asked)
    const set = (more) => setState((before) => ({...(before.bell === bell && before.asked === asked ? before : nothing), bell, asked, ...more}))
    return bell.live(name, Object.fromEntries(args), (rows) => set({rows, stale: ''}), (reason) => set({stale: reason}))
  }, [bell, asked])
  return state.bell === bell && state.asked === asked ? state : nothing
}
