"""What columns, months, states and countries are called in shops' tables: English, German,
Portuguese, Spanish, French."""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN = re.compile(r"[^a-z0-9%#]+")


@lru_cache(maxsize=10_000)
def plain(text: str) -> str:
    """Lower case without accents: `Período` is `periodo`, `ß` is `ss`."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))


def words(name: str) -> tuple[str, ...]:
    """The words of a column's name: `Price_INR` is `price inr`, `InvoiceNo` is `invoice no`."""
    return tuple(word for word in _BETWEEN.split(plain(_CAMEL.sub(" ", name))) if word)


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Nobody means anything by them in the name of a column.
FILLERS = _set("of the a an de do da dos das der die das des du la le les el los in im")

# For each target what its column is called, the surest first: each later group is worth less.
NAMES: Mapping[str, tuple[tuple[float, str], ...]] = {
    "order": (
        (1.0, "order id|order no|order number|order nr|order|invoice no|invoice number|invoice id"),
        (1.0, "invoice|receipt|receipt id|receipt no|transaction id|transaction no|order name"),
        (1.0, "bestellnummer|bestellung|bestell nr|auftragsnummer|auftrag|rechnungsnummer"),
        (1.0, "bestellnr|best nr|auftragsnr|auftrags nr|rechnungsnr|rechnungs nr|belegnr|beleg nr"),
        (1.0, "rechnung|belegnummer|beleg|bon|bonnummer|pedido|id pedido|numero pedido|n pedido"),
        (1.0, "nota fiscal|fatura|factura|numero factura|ticket|commande|numero commande|facture"),
        (0.9, "no commande|n commande|no facture|sale id|sales id|transaction|venda|venta|vente"),
        (0.8, "document|document no|basket id|basket|cart id|checkout id|bill no|bill"),
    ),
    "time": (
        (1.0, "order date|invoice date|date|datetime|order time|purchase date|sale date"),
        (1.0, "purchase timestamp|order purchase timestamp|sales date|sold at|ordered at"),
        (1.0, "transaction date|timestamp|created at|date time|datum|bestelldatum|rechnungsdatum"),
        (1.0, "verkaufsdatum|belegdatum|kaufdatum|data|data pedido|data venda|data compra|fecha"),
        (1.0, "fecha pedido|fecha venta|fecha compra|date commande|date vente|date achat|day|tag"),
        (0.9, "zeitpunkt|bestellt am|dia|jour|event time|paid at|processed at|order day|zeit"),
    ),
    "clock": ((1.0, "time|hour|uhrzeit|hora|heure|time of day|sale time|order hour|zeit|horario"),),
    "product": (
        (1.0, "product id|product code|stock code|item id|item code|article id|article number"),
        (1.0, "product number|article no|item no|item number|asin|artikelnummer|artikel nr"),
        (1.0, "produktnummer|produkt id|artikel id|codigo produto|id produto|produto id"),
        (1.0, "codigo producto|id producto|producto id|code produit|id produit|reference produit"),
        (1.0, "artikelnr|artnr|art nr|artikel nummer|produktnr|produkt nr|prod nr"),
        (0.8, "reference|ref|referencia|plu|ean|gtin|upc|barcode|codigo|sku"),
        (0.7, "product|item|article|artikel|produkt|produto|producto|produit|articulo"),
    ),
    "name": (
        (1.0, "product name|item name|article name|product title|product|description|item"),
        (
            1.0,
            "artikelname|produktname|artikelbezeichnung|bezeichnung|artikel|produkt|lineitem name",
        ),
        (1.0, "nome produto|produto|descricao|nombre producto|producto|descripcion|articulo"),
        (1.0, "nom produit|produit|designation|libelle|article|title|beschreibung"),
        (0.5, "name|nome|nombre|nom"),
    ),
    "category": (
        (1.0, "category|product category|product category name|category name|product type"),
        (1.0, "department|kategorie|warengruppe|produktkategorie|produktgruppe|categoria"),
        (
            1.0,
            "categoria produto|categoria producto|categorie|categorie produit|rayon|departamento",
        ),
        (0.9, "product category name english|product group|product line|item group|family|genre"),
        (0.9, "sub category|subcategory|familia|famille|gruppe|collection|segment produit"),
        (0.75, "type|typ|tipo"),
    ),
    "brand": (
        (1.0, "brand|product brand|marke|hersteller|marca|marque|manufacturer|vendor|maker"),
    ),
    "variant": (
        (1.0, "sku|variant|variant id|variant sku|variante|lineitem sku|size|model|groesse"),
        (0.8, "colour|color|farbe|modell|modelo|modele|taille|cor|talla|tamanho"),
    ),
    "quantity": (
        (1.0, "quantity|qty|quantity sold|quantity ordered|units|units sold|order quantity"),
        (1.0, "menge|anzahl|stueck|stuck|stueckzahl|quantidade|qtd|qtde|cantidad|cant|quantite"),
        (1.0, "qte|unidades|unidades vendidas|lineitem quantity|unites|items sold|sold|sales qty"),
        (0.8, "count|pieces|pcs|no items|verkauft|vendidos"),
    ),
    "unit_price": (
        (1.0, "unit price|price|price each|unitprice|item price|selling price|sale price"),
        (1.0, "preis|einzelpreis|stueckpreis|verkaufspreis|preco|preco unitario|valor unitario"),
        (1.0, "precio|precio unitario|prix|prix unitaire|price per unit|lineitem price"),
        (0.8, "unit cost|rate|retail price|mrp|list price|pu"),
    ),
    "total": (
        (1.0, "line total|total|sales|amount|revenue|total price|total amount|total sales"),
        (1.0, "subtotal|sales amount|gesamt|gesamtpreis|umsatz|betrag|summe|gesamtbetrag"),
        (1.0, "valor total|preco total|receita|valor|importe|precio total|ingresos|montant"),
        (
            1.0,
            "prix total|chiffre affaires|ca|line amount|net sales|gross sales|turnover|total ttc",
        ),
        (0.8, "value|paid|price total|payment value|sum|ventas|vendas|ventes"),
    ),
    "discount": (
        (
            1.0,
            "discount|discount amount|rabatt|nachlass|desconto|descuento|remise|rabais|reduction",
        ),
        (0.9, "discount %|discount percent|discount rate|discount pct|rebate|lineitem discount"),
    ),
    "tax": (
        (1.0, "tax|vat|gst|tax amount|vat amount|sales tax|mwst|ust|steuer|imposto|iva|impuesto"),
        (1.0, "tva|taxe|tax rate|vat rate|taxes|steuerbetrag|impostos|impuestos"),
    ),
    "shipping": (
        (1.0, "shipping|freight|freight value|shipping cost|shipping fee|postage|delivery fee"),
        (1.0, "versand|versandkosten|porto|frete|valor frete|envio|gastos envio|frais port"),
        (0.9, "livraison|shipping amount|delivery cost|shipping charges"),
    ),
    "currency": ((1.0, "currency|currency code|waehrung|wahrung|moeda|moneda|devise|monnaie"),),
    "country": (
        (1.0, "country|ship country|shipping country|customer country|country code|land|pais"),
        (1.0, "pays|lieferland|billing country|destination country|market|country name"),
    ),
    "channel": (
        (1.0, "channel|sales channel|order channel|kanal|vertriebskanal|canal|canal venda"),
        (1.0, "canal venta|canal vente|source|source name|dealer type|platform|plattform"),
        (0.8, "store|shop|filiale|loja|tienda|magasin|outlet|marketplace|store type|store name"),
    ),
    "customer": (
        (1.0, "customer unique id|unique customer id"),
        (0.97, "customer id|customer no|customer number|customer code"),
        (0.9, "client id|user id|buyer id|member id|kundennummer|kunden nr|kunden id|kunde"),
        (0.9, "kundennr|kdnr|kd nr|kunden nummer|kundenid"),
        (0.9, "id cliente|codigo cliente|cliente id|numero client|id client|no client|code client"),
        (0.8, "customer|client|cliente|user|buyer|account|comprador|acheteur"),
        (0.7, "email|e mail|customer email|mail|customer name|client name|nome cliente"),
    ),
    "status": (
        (1.0, "status|order status|state of order|financial status|bestellstatus|auftragsstatus"),
        (1.0, "status pedido|situacao|estado|estado pedido|statut|statut commande|etat"),
        (0.9, "event type|event"),
        (0.8, "transaction type|sale type|cancelled|canceled|returned|storniert|retoure|refunded"),
    ),
    "shipped": (
        (
            1.0,
            "shipped at|ship date|shipping date|delivered carrier date|shipped date|versanddatum",
        ),
        (0.9, "order delivered carrier date|fulfilled at|data envio|fecha envio|date expedition"),
    ),
    "delivered": (
        (1.0, "delivered at|delivery date|delivered customer date|lieferdatum|delivered date"),
        (0.9, "order delivered customer date|data entrega|fecha entrega|date livraison"),
    ),
    "row": (
        (1.0, "id|row|row id|row no|row number|index|no|nr|#|line|unnamed 0|zeile|linha|fila"),
    ),
}

# With one of these in its name a column is something else.
NOT: Mapping[str, frozenset[str]] = {
    "time": _set(
        "limit due estimated delivery delivered ship shipping shipped approved birth expiry "
        "updated review stock modified geburt lieferung entrega livraison envio"
    ),
    "customer": _set(
        "age gender sex group segment city state zip country phone address type since score "
        "occupation prefix postcode name_of street"
    ),
    "order": _set("item line date status quantity qty total value amount time type"),
    "product": _set("category type price quantity brand name line group"),
    "name": _set(
        "length lenght category customer client user first last country file of_shop store"
    ),
    "category": _set("translation fuel road weather payment customer dealer"),
    "quantity": _set("stock available inventory minimum max limit discount photos"),
    "unit_price": _set("petrol fuel competitor cost total"),
    "total": _set("quantity qty units items tax discount"),
    "discount": frozenset(["code"]),
    "status": _set("payment civil marital stock"),
    "channel": _set("advertisement id"),
    "country": _set("origin id"),
    "delivered": frozenset(["estimated"]),
    "clock": _set("zone stamp delivery"),
    "variant": _set("id_of stock"),
}

# Of these no figure is made: the log must not know them.
PERSONAL = _set(
    "email mail phone telephone telefon telefone telefono address adresse endereco direccion "
    "street strasse rua calle zip postcode plz "
    "cep firstname lastname surname vorname nachname birthday "
    "birth geburtsdatum ip iban"
)

TOTALS = _set(
    "total totals subtotal sum summe gesamt gesamtsumme zwischensumme soma suma somme totaux "
    "totais totales grand result ergebnis"
)

_MONTHS = (
    "january january jan januar janner janeiro enero ene janvier janv",
    "february feb februar fevereiro fev febrero fevrier fevr",
    "march mar marz maerz marco marzo mars mrz",
    "april apr abril abr avril avr",
    "may mai maio mayo",
    "june jun juni junho junio juin",
    "july jul juli julho julio juillet juil",
    "august aug agosto ago aout",
    "september sep sept setembro set septiembre septembre",
    "october oct oktober okt outubro out octubre octobre",
    "november nov novembro noviembre novembre",
    "december dec dezember dez dezembro diciembre dic decembre",
)
MONTHS: Mapping[str, int] = {
    name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()
}

SIGNS: Mapping[str, str] = {
    "R$": "BRL",
    "US$": "USD",
    "A$": "AUD",
    "C$": "CAD",
    "€": "EUR",
    "£": "GBP",
    "₹": "INR",
    "Rs.": "INR",
    "₺": "TRY",
    "₽": "RUB",
    "₩": "KRW",
    "₪": "ILS",
    "zł": "PLN",
    "Kč": "CZK",
    "$": "USD",
    "¥": "JPY",
}
UNSURE_SIGNS = frozenset({"$", "¥"})
"""Several currencies are written so."""

CURRENCIES = _set(
    "AED ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JPY KES "
    "KRW MAD MXN MYR NGN NOK NZD PEN PHP PKR PLN RON RSD RUB SAR SEK SGD THB TRY TWD UAH USD UYU "
    "VND ZAR"
)

# What a state means for the books. `sale`: it counts; `pending`: not yet; `cancelled`: never;
# `returned`: it did, and was given back; `none`: the row is about something else.
_STATUSES = {
    "sale": "paid completed complete delivered shipped invoiced processing approved fulfilled sale "
    "sold closed done success successful bezahlt abgeschlossen versendet versandt geliefert "
    "zugestellt verkauft pago paga concluido entregue enviado faturado aprovado aprovada pagado "
    "completado entregado payee paye terminee terminé livree livre expediee no false 0 n nein nao "
    "purchase purchased",
    "pending": "created pending open unpaid new draft placed unavailable offen neu ausstehend "
    "pendente criado indisponivel pendiente creado en attente nouveau onhold",
    "cancelled": "canceled cancelled void voided failed storniert abgebrochen cancelado cancelada "
    "anulado anulada annule annulee declined rejected abandoned",
    "none": "view viewed cart addtocart add_to_cart remove_from_cart wishlist click impression",
    "returned": "returned refunded return refund retourniert retoure erstattet zuruckgegeben "
    "devolvido reembolsado devuelto rembourse rembourse retourne credit gutschrift devolution",
}
STATUSES: Mapping[str, str] = {
    plain(word): meaning for meaning, told in _STATUSES.items() for word in told.split()
}
MEANINGS = ("sale", "pending", "cancelled", "returned", "none")

_COUNTRIES = (
    "United Kingdom|Great Britain|England|UK|Ireland|EIRE|Germany|Deutschland|France|"
    "Frankreich|Spain|España|Spanien|Portugal|Italy|Italia|Italien|Netherlands|"
    "Niederlande|Belgium|Belgique|Belgien|Switzerland|Schweiz|Suisse|Austria|Österreich|"
    "Poland|Polska|Polen|Denmark|Dänemark|Sweden|Schweden|Norway|Norwegen|Finland|"
    "Iceland|Greece|Cyprus|Malta|Hungary|Czech Republic|Czechia|Tschechien|Slovakia|"
    "Slovenia|Croatia|Romania|Bulgaria|Serbia|Ukraine|Russia|Turkey|Türkei|Israel|"
    "Lebanon|Saudi Arabia|United Arab Emirates|Bahrain|India|Indien|Pakistan|China|Japan|"
    "South Korea|Singapore|Hong Kong|Thailand|Vietnam|Indonesia|Malaysia|Philippines|"
    "Australia|New Zealand|United States|United States of America|USA|US|Canada|Kanada|"
    "Mexico|México|Brazil|Brasil|Brasilien|Argentina|Chile|Colombia|Peru|Uruguay|"
    "South Africa|RSA|Egypt|Morocco|Nigeria|Kenya|Lithuania|Latvia|Estonia|Luxembourg|"
    "Channel Islands|European Community|Unspecified|Royaume-Uni|Allemagne|Espagne|Italie|"
    "Alemania|Alemanha|Francia|França|Reino Unido|Estados Unidos|Suiza|Suíça|Bélgica|"
    "Holanda|Vereinigtes Königreich|Großbritannien|Etats-Unis|Pays-Bas|Taiwan|Luxemburg"
)
COUNTRIES = frozenset(plain(name) for name in _COUNTRIES.split("|"))
COUNTRY_CODES = _set(
    "AE AR AT AU BE BG BR CA CH CL CN CO CY CZ DE DK EE EG ES FI FR GB GR HK HR HU ID IE IL IN IS "
    "IT JP KE KR LB LT LU LV MA MT MX MY NG NL NO NZ PE PH PK PL PT RO RS RU SA SE SG SI SK TH TR "
    "TW UA UK US UY VN ZA"
)
