// Every few seconds the page takes over what its newer self says, and keeps its place.
// It says so when there is nothing newer.
const note = document.querySelector('#note')

async function refresh() {
  if (!getSelection().isCollapsed) {
    note.textContent = 'Not refreshed while text is selected.'
    return
  }
  try {
    const answer = await fetch('', {signal: AbortSignal.timeout(4000)})
    if (!answer.ok) throw new Error(answer.status)
    const newer = new DOMParser().parseFromString(await answer.text(), 'text/html')
    document.querySelector('main').replaceWith(newer.querySelector('main'))
    document.title = newer.title
    note.textContent = ''
  } catch (error) {
    note.textContent = `No answer (${error.message}): what is shown is old.`
  }
}

setInterval(refresh, 5000)
