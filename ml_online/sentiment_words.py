"""Words that a beginning goes by, of six languages: what praises, blames and hedges; what negates;
and function words of ten, by which a language is guessed. Our own lists: short, for stars soon
teach better ones.
"""

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRAISE: Mapping[str, frozenset[str]] = {
    "en": _words(
        "good great excellent amazing awesome love loved loves lovely perfect perfectly best"
        " beautiful fantastic wonderful happy pleased nice comfortable comfy recommend recommended"
        " easy sturdy soft favorite favourite gorgeous superb brilliant impressed satisfied works"
        " well glad worth fine cute flattering fast quick reliable solid enjoy enjoyed delicious"
        " delighted thanks thank helpful affordable quality durable pretty cozy outstanding"
        " terrific stylish smooth compliments true handy bright"
    ),
    "pt": _words(
        "bom boa ótimo ótima otimo otima excelente adorei amei gostei perfeito perfeita lindo linda"
        " recomendo maravilhoso maravilhosa satisfeito satisfeita rápido rápida rapido rapida"
        " parabéns parabens feliz bonito bonita confortável melhor melhores nota superou confiável"
        " gostoso top obrigado obrigada certinho correto antes show bem qualidade"
    ),
    "es": _words(
        "bueno buena buenos buen excelente genial perfecto perfecta encanta encantó recomiendo"
        " recomendable bonito bonita contento contenta satisfecho satisfecha rápido rápida mejor"
        " maravilloso maravillosa cómodo cómoda calidad gracias fácil feliz fantástico bien"
        " estupendo"
    ),
    "de": _words(
        "gut gute guter gutes super toll tolle tolles perfekt klasse schön schöne schönes empfehlen"
        " empfehlenswert zufrieden begeistert schnell schnelle liebe bequem hochwertig top"
        " einwandfrei"
        " wunderbar hervorragend ausgezeichnet gerne danke prima passt stabil freundlich beste"
        " günstig weich praktisch"
    ),
    "fr": _words(
        "bon bonne bons bonnes excellent excellente super parfait parfaite génial géniale adore"
        " recommande content contente satisfait satisfaite rapide beau belle jolie joli confortable"
        " meilleur meilleure merci facile magnifique ravi ravie bien qualité agréable solide"
    ),
    "it": _words(
        "buono buona ottimo ottima eccellente perfetto perfetta bello bella bellissimo bellissima"
        " consiglio consigliato soddisfatto soddisfatta veloce comodo comoda migliore fantastico"
        " fantastica contento contenta grazie facile qualità adoro bene splendido"
    ),
}

BLAME: Mapping[str, frozenset[str]] = {
    "en": _words(
        "bad terrible horrible awful poor poorly worst waste wasted disappointed disappointing"
        " disappointment broke broken defective cheap cheaply useless junk garbage trash hate hated"
        " return returned returning refund stopped fell ripped torn tear leak leaks leaking faulty"
        " flimsy failed fails fail uncomfortable wrong late damaged missing unfortunately"
        " unacceptable rude scratched stained smell smells stinks itchy overpriced misleading died"
        " dead worse crap sucks annoying slow ugly unhappy avoid regret frustrating shrunk hurts"
        " crack cracked complaint scam fake lost dirty weak mistake ridiculous"
    ),
    "pt": _words(
        "ruim péssimo péssima pessimo pessima horrível horrivel defeito quebrado quebrada quebrou"
        " decepcionado decepcionada decepção atraso atrasado atrasada errado errada faltando faltou"
        " nunca devolver devolução troca reembolso cancelar cancelei problema problemas enganado"
        " reclamação lamentável danificado danificada rasgado fraco fraca pior descaso aguardando"
        " triste insatisfeito insatisfeita cadê demora demorou falso falsa inferior veio"
    ),
    "es": _words(
        "malo mala mal pésimo pésima horrible roto rota rompió defecto defectuoso defectuosa"
        " decepcionado decepcionada decepción tarde retraso equivocado equivocada falta faltan"
        " devolver devolución reembolso problema problemas peor caro pequeño engaño estafa sucio"
        " dañado dañada débil basura lento"
    ),
    "de": _words(
        "schlecht schlechte schlechter schlechtes kaputt defekt enttäuscht enttäuschend"
        " enttäuschung mangelhaft schrott müll leider zurück zurückgeschickt rücksendung"
        " reklamation"
        " falsch falsche fehlt fehlte billig teuer verspätet spät beschädigt kratzer gerissen"
        " undicht unbrauchbar schlimm schlechteste stinkt problem probleme minderwertig"
        " unfreundlich"
        " nie langsam ärgerlich"
    ),
    "fr": _words(
        "mauvais mauvaise nul nulle horrible cassé cassée défaut défectueux défectueuse déçu déçue"
        " décevant déception retard erreur manque manquant retour renvoyer remboursement problème"
        " problèmes pire cher chère petit abîmé abîmée sale arnaque lent fragile malheureusement"
        " inutile médiocre"
    ),
    "it": _words(
        "cattivo cattiva pessimo pessima orribile rotto rotta rompe difetto difettoso difettosa"
        " deluso delusa delusione ritardo sbagliato sbagliata manca mancante reso rimborso problema"
        " problemi peggio peggiore caro piccolo danneggiato danneggiata sporco truffa lento scarso"
        " scarsa purtroppo inutile"
    ),
}

HEDGES: Mapping[str, frozenset[str]] = {
    "en": _words(
        "ok okay average decent mediocre meh alright however but though although except wish"
        " overall"
        " kinda somewhat otherwise unfortunately only"
    ),
    "pt": _words(
        "mas porém porem razoável razoavel regular mediano médio medio ok apesar embora entanto"
        " apenas só pouco"
    ),
    "es": _words("pero aunque regular normal ok embargo solo sólo poco aceptable"),
    "de": _words(
        "aber jedoch allerdings ok okay mittelmäßig durchschnittlich naja nur etwas obwohl"
    ),
    "fr": _words("mais cependant moyen moyenne correct ok toutefois dommage seulement peu bémol"),
    "it": _words("ma però discreto discreta normale ok tuttavia peccato solo poco sufficiente"),
}
"""What stands in the reviews of those who are of two minds."""

NEGATORS = _words(
    "not no never none nothing nor neither without cannot hardly barely nobody"
    " não nao nem nunca sem nada nenhum nenhuma jamais"
    " tampoco sin ningún ninguna"
    " nicht kein keine keinen keiner nie niemals ohne"
    " pas jamais aucun aucune sans rien"
    " non mai senza nessun nessuna"
    " niet geen nooit zonder nie bez inte ingen aldrig"
)

FUNCTION: Mapping[str, frozenset[str]] = {
    "en": _words(
        "the and is it was this that for with have but you are not they very my on of to in be"
        " had would were just so from i at these has when than one only there been will what which"
        " if me them it's don't i'm didn't doesn't"
    ),
    "pt": _words(
        "o os e é que não nao em do da um uma com para por mais muito minha meu foi ao na no"
        " produto chegou entrega comprei ainda já mas tudo prazo recebi até esta está pra dos das"
        " como bem eu ele as são à às nos nas pelo pela aos esse essa isso tem sou veio estou"
    ),
    "es": _words(
        "el la los las y es que en un una con para por más muy mi fue al del lo se su pero todo"
        " esta este producto llegó compré ya como han ha está son le me yo tiene"
    ),
    "de": _words(
        "der die das und ist es nicht ein eine mit für auf ich war den von zu sehr im dem aber auch"
        " wie bei hat sich so nur noch nach wir mir habe wurde einen dass man aus kann sind"
    ),
    "fr": _words(
        "le la les et est que pas un une des avec pour sur je très mon ma dans ce cette il elle qui"
        " au du mais plus ne j'ai c'est en produit reçu tout bien sont nous vous on été"
    ),
    "it": _words(
        "il lo gli e è che non un una con per di da mi molto ho sono ma anche del della nel"
        " prodotto"
        " questo questa come più alla al si è dei delle stato arrivato tutto"
    ),
    "nl": _words(
        "het een en van niet is dat met voor ik op zijn maar heel ook deze dit er naar bij nog wel"
        " heb goed zeer was om aan als werd"
    ),
    "pl": _words(
        "i w na nie się z jest że to do po za ale bardzo jak od mi przez tylko tak już produkt"
        " są oraz dla był była"
    ),
    "sv": _words(
        "och det är en att som på inte för med jag den av var mycket men har till från så ett om"
        " efter bra kan nu hade"
    ),
    "tr": _words(
        "ve bir bu çok için ürün güzel ama da de ile gibi daha değil ben aldım geldi olarak kadar"
        " hiç en iyi tavsiye ederim"
    ),
}
"""Some stand in several languages: what tells them apart is how many of each a text has."""
