"""What reviews speak of, in six languages: words for each aspect, and the problems that are told of
it, with what could be done. Our own lists.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

ASPECTS = ("quality", "size", "delivery", "price", "service")


class Problem(NamedTuple):
    """A kind of complaint: the aspect that it is of, and what a shop can do about it."""

    kind: str
    aspect: str
    advice: str


PROBLEMS: Mapping[str, Problem] = {
    problem.kind: problem
    for problem in (
        Problem("broke", "quality", "find what breaks and have it made stronger, or change maker"),
        Problem("defective", "quality", "test units before they are sent; look at the last batch"),
        Problem("poor_material", "quality", "use a better material, or say plainly what it is"),
        Problem("smell", "quality", "air it before packing; look for what it smells of"),
        Problem("not_as_described", "quality", "mend pictures and description to show what comes"),
        Problem("too_small", "size", "correct the size chart: tell buyers to take a size more"),
        Problem("too_large", "size", "correct the size chart: tell buyers to take a size less"),
        Problem("poor_fit", "size", "give measures of each size, and show it worn or in place"),
        Problem("late", "delivery", "promise later dates, or choose a faster carrier"),
        Problem("never_arrived", "delivery", "follow parcels up, and resend before being asked"),
        Problem("damaged_on_arrival", "delivery", "pack it better; claim from the carrier"),
        Problem("wrong_item", "delivery", "check picking: what was packed was not what was bought"),
        Problem("missing_parts", "delivery", "check that sets are complete when they are packed"),
        Problem("too_expensive", "price", "compare with rivals' prices; show what it is worth"),
        Problem("no_answer", "service", "answer sooner: buyers who write hear nothing"),
        Problem("return_trouble", "service", "make returning easier, and refund sooner"),
    )
}


def _aspects(**words: str) -> Mapping[str, str]:
    return {word: aspect for aspect, text in words.items() for word in text.split()}


ASPECT_OF: Mapping[str, Mapping[str, str]] = {
    "en": _aspects(
        quality="quality material materials fabric build built sturdy flimsy durable durability"
        " stitching seam seams broke broken defective cheaply finish leather cotton plastic color"
        " colour smell zipper works working stopped leaks lasted battery sound screen",
        size="size sizes sizing fit fits fitted fitting small smaller large larger big bigger tight"
        " loose long short length width wide narrow height dimensions oversized petite runs",
        delivery="delivery delivered shipping shipped ship arrived arrive arrives package packaging"
        " packaged box late courier carrier parcel missing",
        price="price prices priced pricey expensive cheap cheaper money cost costs worth value"
        " overpriced bargain affordable deal",
        service="service seller support customer refund return returns returned exchange warranty"
        " response replied reply staff store vendor",
    ),
    "pt": _aspects(
        quality="qualidade material tecido defeito quebrou quebrado quebrada acabamento funciona"
        " funcionou funcionando frágil resistente durável cor cheiro",
        size="tamanho tamanhos pequeno pequena grande apertado apertada largo larga curto comprido"
        " medida medidas serviu",
        delivery="entrega entregue entregaram entregar chegou chegaram prazo correios atraso"
        " atrasado frete embalagem recebi transportadora faltando faltou",
        price="preço preco caro cara barato barata valor custo benefício dinheiro",
        service="atendimento loja vendedor suporte troca devolução devolver reembolso resposta"
        " retorno responderam contato",
    ),
    "es": _aspects(
        quality="calidad material tela defecto rompió roto rota acabado funciona resistente frágil"
        " color olor",
        size="talla tallas tamaño pequeño pequeña grande ajustado ancho largo corto medidas",
        delivery="entrega envío llegó llegaron paquete embalaje transportista retraso plazo caja",
        price="precio caro cara barato barata valor dinero costo",
        service="atención servicio vendedor tienda soporte devolución reembolso respuesta cambio",
    ),
    "de": _aspects(
        quality="qualität material stoff verarbeitung defekt kaputt stabil robust funktioniert"
        " farbe"
        " geruch naht hält",
        size="größe grösse größen passt passen klein kleiner groß größer eng weit lang kurz"
        " passform",
        delivery="lieferung geliefert versand versendet angekommen paket verpackung verspätet"
        " lieferzeit kam",
        price="preis teuer günstig billig geld wert preisleistung",
        service="service kundenservice verkäufer händler rückgabe erstattung umtausch antwort"
        " support",
    ),
    "fr": _aspects(
        quality="qualité matière tissu défaut cassé cassée fonctionne solide fragile finition"
        " couleur odeur",
        size="taille tailles petit petite grand grande serré large long court mesure",
        delivery="livraison livré livrée envoi expédition arrivé arrivée colis emballage retard"
        " délai transporteur",
        price="prix cher chère argent valeur coût",
        service="service vendeur sav boutique retour remboursement échange réponse",
    ),
    "it": _aspects(
        quality="qualità materiale tessuto difetto rotto rotta funziona resistente fragile finiture"
        " colore odore",
        size="taglia taglie misura misure piccolo piccola grande stretto stretta largo lungo corto",
        delivery="consegna spedizione spedito arrivato arrivata pacco imballaggio ritardo corriere",
        price="prezzo caro cara economico soldi valore costo",
        service="servizio venditore negozio assistenza reso rimborso cambio risposta",
    ),
}
"""Which aspect a word is of."""

_TOLD: Mapping[str, Mapping[str, str]] = {
    "en": {
        "broke": r"broke|broken|fell apart|falls apart|falling apart|snapped|cracked|ripped|tore",
        "defective": r"defective|faulty|stopped working|(?:does|did|do)(?:n't| not) work(?!"
        r" (?:for|with|on|well))|dead on"
        r" arrival|won't (?:turn on|charge|start)|leaks|leaked|leaking",
        "poor_material": r"cheaply made|poor(?:ly)? (?:quality|made)|bad quality|low quality"
        r"|cheap (?:material|fabric|plastic|quality)|flimsy|see[- ]through|too thin|itchy|shrunk",
        "smell": r"smells? (?:bad|awful|terrible|horrible|like|of|funny)|stinks?"
        r"|(?:bad|awful|terrible|chemical|horrible|strong) (?:smell|odor|odour)",
        "not_as_described": r"(?:not|nothing) (?:as|like) (?:described|pictured|shown|the"
        r" (?:picture"
        r"|photo|description)s?|advertised)|misleading|false advertising",
        "too_small": r"(?:too|very|so|way too|a bit|a little) (?:small|tight|short|narrow|snug)"
        r"|runs? (?:very |really |a bit |a little |too )?(?:small|tight|short)|order (?:a|one)"
        r" size up"
        r"|smaller than",
        "too_large": r"(?:too|very|so|way too|a bit|a little) (?:big|large|loose|long|wide|baggy)"
        r"|runs? (?:very |really |a bit |a little |too )?(?:big|large|long|loose)|order (?:a"
        r"|one) size"
        r" down|(?:bigger|larger) than|huge on me|oversized",
        "poor_fit": r"(?:does|did|do)(?:n't| not) fit|poor fit|bad fit|unflattering|odd fit",
        "late": r"(?:arrived|came|delivered|shipped|delivery (?:was|is)|shipping (?:was|is))"
        r" (?:very |so"
        r" |too |\w+ (?:days|weeks) )?(?:late|slow)|took (?:too long|forever|weeks|months)|late"
        r" delivery"
        r"|slow (?:delivery|shipping)|(?:delivery|shipping) took",
        "never_arrived": r"never (?:arrived|came|received|got|showed)|(?:did|have|has)(?:n't| not)"
        r" (?:arrived?|received?)|not received|still waiting",
        "damaged_on_arrival": r"(?:arrived|came|received|delivered)(?: \w+){0,2} (?:broken|damaged"
        r"|cracked|crushed|dented|scratched|open)|damaged (?:box|package|packaging|in (?:transit"
        r"|shipping))",
        "wrong_item": r"wrong (?:item|size|color|colour|product|one|model|order)|sent me (?:the|a)"
        r" (?:wrong|different)",
        "missing_parts": r"missing (?:parts?|pieces?|screws?|items?|a|the|some|one)|(?:was|were"
        r"|is|are)"
        r" missing|incomplete",
        "too_expensive": r"too expensive|overpriced|over priced|not worth|too much money|pricey"
        r"|waste of (?:my )?money|rip[- ]?off",
        "no_answer": r"no (?:response|reply|answer)|never (?:responded|replied|answered|heard back)"
        r"|(?:does|did|do)(?:n't| not) (?:respond|reply|answer)|(?:bad|poor|terrible|awful"
        r"|horrible)"
        r" (?:customer )?(?:service|support)|rude",
        "return_trouble": r"(?:can't|cannot|could ?n't|won't|refused to) (?:return|refund)|no"
        r" refund"
        r"|refused (?:a |my |the )?(?:refund|return)|return (?:policy|process) (?:is|was)"
        r"|still waiting for (?:my |a |the )?refund",
    },
    "pt": {
        "broke": r"quebrou|quebrad[oa]|rasgou|rasgad[oa]|descolou|desmontou",
        "defective": r"(?:com|veio|apresentou) defeito|defeituos[oa]|não (?:funciona|funcionou"
        r"|liga)"
        r"|parou de funcionar",
        "poor_material": r"(?:péssima|pessima|baixa|má|ruim) qualidade|qualidade (?:ruim|péssima"
        r"|inferior|baixa)|material (?:ruim|fraco|frágil|inferior)|muito fin[oa]|muito frágil",
        "not_as_described": r"diferente d[oa] (?:foto|anúncio|anuncio|descrição|site|imagem)"
        r"|não (?:é|corresponde)(?: \w+){0,3} (?:foto|anúncio|descrição)|propaganda enganosa",
        "too_small": r"(?:muito|ficou|veio|bem) (?:pequen[oa]|apertad[oa]|curt[oa])",
        "too_large": r"(?:muito|ficou|veio|bem) (?:grande|larg[oa]|comprid[oa])",
        "poor_fit": r"não (?:serviu|coube|encaixa)",
        "late": r"atras(?:o|ou|ad[oa])|demor(?:ou|a|ad[oa])|fora do prazo|depois do prazo"
        r"|não (?:chegou|entregue) no prazo",
        "never_arrived": r"não (?:recebi|chegou|foi entregue|entregaram|entregue|veio)|nunca chegou"
        r"|ainda não (?:recebi|chegou)|aguardando (?:a entrega|o produto|até)|cadê",
        "damaged_on_arrival": r"(?:veio|chegou|recebi)(?: \w+){0,2} (?:quebrad[oa]|danificad[oa]"
        r"|amassad[oa]|rasgad[oa]|arranhad[oa])|embalagem (?:danificada|violada|rasgada|aberta)",
        "wrong_item": r"(?:produto|item|modelo|cor|tamanho|veio|recebi) (?:\w+ )?(?:errad[oa]"
        r"|trocad[oa])"
        r"|(?:outro|diferente) (?:produto|modelo) ",
        "missing_parts": r"falt(?:ou|ando|a|aram)|incomplet[oa]|(?:só|apenas) (?:recebi|veio"
        r"|chegou|um"
        r"|uma|1)",
        "too_expensive": r"muito car[oa]|não vale|preço (?:alto|abusivo)|frete (?:caro|alto)",
        "no_answer": r"não (?:respond\w+|retorn\w+|atend\w+)|sem resposta|ninguém responde"
        r"|(?:péssimo|pessimo) atendimento|descaso",
        "return_trouble": r"não consigo (?:trocar|devolver|cancelar)|quero (?:meu dinheiro|trocar"
        r"|devolver|cancelar)|(?:troca|devolução|reembolso|estorno) ",
    },
    "es": {
        "broke": r"se rompió|rot[oa]|se rompe",
        "defective": r"defectuos[oa]|no funciona|dejó de funcionar",
        "poor_material": r"mala calidad|calidad (?:mala|pésima)|muy fin[oa]|muy frágil",
        "too_small": r"(?:muy|demasiado) (?:pequeñ[oa]|estrech[oa]|cort[oa])|talla (?:pequeño"
        r"|poco)",
        "too_large": r"(?:muy|demasiado) (?:grande|anch[oa]|larg[oa])|talla grande",
        "late": r"llegó tarde|retras(?:o|ad[oa])|tardó",
        "never_arrived": r"no (?:ha llegado|llegó|lo he recibido|recibí)|nunca llegó",
        "wrong_item": r"(?:producto|artículo|talla|color) equivocad[oa]",
        "missing_parts": r"faltan?|incomplet[oa]",
        "too_expensive": r"(?:muy|demasiado) car[oa]|no vale",
        "no_answer": r"no responden|sin respuesta|mala atención",
    },
    "de": {
        "broke": r"kaputt ?gegangen|gebrochen|gerissen|zerbrochen|kaputt",
        "defective": r"defekt|funktioniert nicht|undicht",
        "poor_material": r"schlechte (?:qualität|verarbeitung)|billig(?:es|e) (?:material|plastik)"
        r"|minderwertig",
        "smell": r"stinkt|riecht|gestank",
        "too_small": r"(?:zu|sehr) (?:klein|eng|kurz)|fällt (?:\w+ )?klein",
        "too_large": r"(?:zu|sehr) (?:groß|weit|lang)|fällt (?:\w+ )?groß",
        "late": r"(?:zu|sehr) spät|verspätet|lange lieferzeit|verspätung",
        "never_arrived": r"(?:nicht|nie) (?:angekommen|geliefert|erhalten)",
        "damaged_on_arrival": r"beschädigt|zerkratzt",
        "wrong_item": r"falsche[rsn]? (?:artikel|farbe|größe|produkt|ware)|falsch geliefert",
        "missing_parts": r"fehlt|fehlte|fehlten|unvollständig",
        "too_expensive": r"(?:zu|überteuert) ?teuer|überteuert",
        "no_answer": r"keine (?:antwort|reaktion|rückmeldung)|unfreundlich",
    },
    "fr": {
        "broke": r"cass[ée]e?|s'est cass",
        "defective": r"défectueu(?:x|se)|ne (?:fonctionne|marche) (?:pas|plus)",
        "poor_material": r"mauvaise qualité|trop fin|fragile",
        "too_small": r"(?:trop|très) (?:petite?|serrée?|courte?)|taille petit",
        "too_large": r"(?:trop|très) (?:grande?|large|longue?)|taille grand",
        "late": r"en retard|retard de|très long à",
        "never_arrived": r"(?:pas|jamais) (?:reçue?|arrivée?|livrée?)",
        "wrong_item": r"mauvais (?:article|produit|modèle)|erreur de",
        "missing_parts": r"manque|manquant|incomplet",
        "too_expensive": r"trop ch(?:er|ère)",
        "no_answer": r"(?:aucune|pas de|sans) réponse",
    },
    "it": {
        "broke": r"si è rott[oa]|rott[oa]",
        "defective": r"difettos[oa]|non funziona",
        "poor_material": r"scarsa qualità|qualità scarsa|pessima qualità",
        "too_small": r"troppo (?:piccol[oa]|strett[oa]|cort[oa])|veste piccolo",
        "too_large": r"troppo (?:grande|larg[oa]|lung[oa])|veste grande",
        "late": r"in ritardo|ritardo",
        "never_arrived": r"(?:mai|non è|non) (?:arrivat[oa]|ricevut[oa])",
        "wrong_item": r"(?:articolo|prodotto|colore) sbagliat[oa]",
        "missing_parts": r"manca|mancano|mancante",
        "too_expensive": r"troppo car[oa]",
        "no_answer": r"nessuna risposta|non rispondono",
    },
}

PATTERNS: Mapping[str, re.Pattern[str]] = {
    language: re.compile(
        r"(?<!\w)(?:" + "|".join(f"(?P<{kind}>{told})" for kind, told in kinds.items()) + r")(?!\w)"
    )
    for language, kinds in _TOLD.items()
}
"""How problems are told of; the name of the group is the kind."""
